import { call, nameWord } from "./system-call.ts";

/** linux/mount.h */
const FSOPEN_CLOEXEC = 1;
const FSCONFIG_SET_FLAG = 0;
const FSCONFIG_SET_STRING = 1;

export interface MountCalls {
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  unmount(target: string, flags: number): void;
  /** fsopen(2): a descriptor in which the options of a mount are put together, without a device. */
  fsopen(type: string): number;
  /** fsconfig(2), FSCONFIG_SET_STRING, or FSCONFIG_SET_FLAG where `value` is null. EINVAL: not this one. */
  fsconfig(context: number, name: string, value: string | null): void;
}

export const mountCalls: MountCalls = {
  mount(source, target, type, flags, data) {
    call("mount", source, nameWord(source), nameWord(target), type, flags, nameWord(data));
  },
  unmount(target, flags) {
    call("umount2", target, nameWord(target), flags);
  },
  fsopen: (type) => call("fsopen", type, nameWord(type), FSOPEN_CLOEXEC),
  fsconfig(context, name, value) {
    const command = value === null ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING;
    call(
      "fsconfig",
      name,
      context,
      command,
      nameWord(name),
      value === null ? 0 : nameWord(value),
      0,
    );
  },
};
