import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Subprocess } from "bun";
import { tool } from "./command.ts";

export const shellNames = ["bash", "zsh", "fish"] as const;
export type ShellName = (typeof shellNames)[number];

/** What a shell prints once before it reads a command line; it repaints its prompt as it likes. */
const READY = "<ready>";
const INSERT_ALL = "\x18a";
const LIMIT_MS = 30_000;
/** So wide that no command line is broken. */
const COLUMNS = 4000;

interface Profile {
  readonly file: string;
  readonly argv: (file: string) => readonly string[];
  /** Makes the shell say that it is ready, and insert all completions at a key. */
  readonly before: string;
  /** Stands behind what the test wants. */
  readonly after: string;
}

const profiles: Record<ShellName, Profile> = {
  bash: {
    file: ".bashrc",
    argv: (file) => ["--noprofile", "--rcfile", file, "-i"],
    before: `PROMPT_COMMAND='echo "${READY}"'`,
    after: `bind '"\\C-xa": insert-completions'`,
  },
  zsh: {
    file: ".zshrc",
    argv: () => ["--no-global-rcs", "-i"],
    before: `precmd() { echo "${READY}" }`,
    after: `autoload -Uz compinit && compinit
insert-all() { _main_complete; compstate[insert]=all }
zle -C insert-all complete-word insert-all
bindkey '^Xa' insert-all`,
  },
  fish: {
    file: "fish/config.fish",
    argv: () => ["-i"],
    before: `function say-ready --on-event fish_prompt; echo "${READY}"; end`,
    after: "",
  },
};

/**
 * A real interactive shell on a terminal, to which keys are typed. The program that it completes
 * only notes the words it was given, and `sudo` starts what it is given.
 */
export class Shell {
  readonly #name: ShellName;
  readonly #words: string;
  readonly #child: Subprocess;
  #screen = "";
  #seen = 0;
  #ended = false;
  #wake: () => void = () => {};

  /** `home` is an empty folder for the shell's own files, `profile` more lines of its profile. */
  static async start(
    name: ShellName,
    options: { readonly home: string; readonly cwd: string; readonly profile?: string },
  ): Promise<Shell> {
    const shell = new Shell(name, options);
    try {
      await shell.#ready();
      return shell;
    } catch (error) {
      shell.close();
      throw error;
    }
  }

  private constructor(
    name: ShellName,
    { home, cwd, profile = "" }: Parameters<typeof Shell.start>[1],
  ) {
    this.#name = name;
    this.#words = join(home, "words");
    const { file, argv, before, after } = profiles[name];
    const path = join(home, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, `${before}\n${profile}\n${after}\n`);
    const bin = join(home, "bin");
    mkdirSync(bin);
    for (const [program, line] of [
      ["arcbox-agent", `printf '%s\\n' "$@" >'${this.#words}'`],
      ["sudo", 'exec "$@"'],
    ]) {
      writeFileSync(join(bin, `${program}`), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
    }
    const decoder = new TextDecoder();
    this.#child = Bun.spawn([tool(name), ...argv(path)], {
      cwd,
      env: {
        HOME: home,
        ZDOTDIR: home,
        XDG_CONFIG_HOME: home,
        PATH: `${bin}:${process.env.PATH}`,
        TERM: "dumb",
        LANG: "C.UTF-8",
      },
      terminal: {
        cols: COLUMNS,
        data: (_, bytes) => {
          this.#screen += decoder.decode(bytes, { stream: true });
          this.#wake();
        },
        exit: () => {
          this.#ended = true;
          this.#wake();
        },
      },
    });
  }

  /** Types keys and Enter, and waits until the shell is ready for the next command line. */
  async type(keys: string): Promise<void> {
    this.#child.terminal?.write(`${keys}\r`);
    await this.#ready();
  }

  /** Types a command line of the program: the words that the program was then started with. */
  async words(keys: string): Promise<readonly string[]> {
    rmSync(this.#words, { force: true });
    await this.type(keys);
    return this.#lines();
  }

  /** All that completes the last word of a command line, in no order. Fish tells it to whoever asks. */
  async offered(line: string): Promise<readonly string[]> {
    const typed = line.split("arcbox-agent ")[1]?.split(" ") ?? [];
    if (this.#name === "fish") {
      await this.type(`complete -C '${line}' | string replace -r '\\t.*' '' >'${this.#words}'`);
      return this.#lines();
    }
    const words = await this.words(`${line}${INSERT_ALL}`);
    // What nothing completes stays as it was typed.
    return words.slice(typed.length - 1).filter((word) => word !== typed.at(-1));
  }

  #lines(): string[] {
    return readFileSync(this.#words, "utf8").split("\n").slice(0, -1);
  }

  async #ready(): Promise<void> {
    const limit = setTimeout(() => this.#child.kill("SIGKILL"), LIMIT_MS);
    let at = this.#screen.indexOf(READY, this.#seen);
    while (at < 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      at = this.#screen.indexOf(READY, this.#seen);
    }
    clearTimeout(limit);
    if (at < 0) {
      throw new Error(`${this.#name} ended: ${JSON.stringify(this.#screen.slice(this.#seen))}`);
    }
    this.#seen = at + READY.length;
  }

  close(): void {
    this.#child.kill("SIGKILL");
    this.#child.terminal?.close();
  }
}
