/**
 * How much of a large set of cases a run goes through: a slice, or with `npm run test:deep` (which
 * sets ARCBOX_DEEP) all of it.
 */
export const depth = <T>(slice: T, all: T): T => (process.env.ARCBOX_DEEP === "1" ? all : slice);
