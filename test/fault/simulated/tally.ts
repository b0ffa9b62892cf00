/** What a run of the property tests has tried. */
export const tally = { starts: 0, calls: 0, errors: 0, kills: 0, powerCuts: 0, runs: 0 };

export const tallyText = (): string =>
  `${tally.starts} starting states with ${tally.calls} kernel calls: ${tally.errors} failing calls, ` +
  `${tally.kills} kills, ${tally.powerCuts} power cuts; ${tally.runs} runs of up`;
