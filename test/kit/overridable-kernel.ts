import type { Kernel } from "../../src/linux/kernel.ts";
import { linuxKernel } from "../../src/linux/linux-kernel.ts";

class Base {}
Object.assign(Base.prototype, linuxKernel());

/** The real kernel as a class, for a test that puts something between a call and its effect. */
export const OverridableKernel = Base as new () => Kernel;
