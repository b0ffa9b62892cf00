import type { Place } from "./paths.ts";

/** An open file. */
export interface Open {
  readonly path: string;
  readonly place: Place;
  readonly flags: number;
  /** What flock(2) and a loop device hold on to. */
  readonly description: number;
  readonly what:
    | { readonly kind: "directory" | "path" | "control" }
    | { readonly kind: "text"; readonly bytes: Uint8Array }
    | { readonly kind: "block"; readonly name: string; readonly device: string }
    | { readonly kind: "image"; readonly image: number }
    /** Uevents or inotify. */
    | { readonly kind: "events" };
  /** Of a text: how far it was read. */
  position: number;
}

/** What ends with the process. */
export class Process {
  readonly files = new Map<number, Open>();
  umask = 0o022;

  /** The lowest free number, as POSIX wants it; 0 to 2 are the standard ones. */
  add(open: Open): number {
    let fd = 3;
    while (this.files.has(fd)) fd += 1;
    this.files.set(fd, open);
    return fd;
  }
}
