import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { architectures, ownArchitecture } from "../../scripts/build/architecture.ts";
import { buildDeb } from "../../scripts/release/deb.ts";
import { command } from "../kit/command.ts";
import { type Sandbox, useSandbox } from "../kit/sandbox.ts";

const sandbox = useSandbox();
const TIME_SECONDS = 1_700_000_000;

/** Runs a script in this machine's own system, of which nothing is changed: what it writes is in memory and gone. */
function inCopyOfThisSystem(box: Sandbox, script: string): string {
  const memory = box.folder("memory");
  writeFileSync(box.path("script"), script);
  return command(
    ...["unshare", "--mount", "--propagation", "private", "sh", "-ec"],
    `mount -t tmpfs memory "$0"
     mkdir "$0/upper" "$0/work" "$0/root"
     mount -t overlay -o lowerdir=/,upperdir="$0/upper",workdir="$0/work" overlay "$0/root"
     mount -t tmpfs tmp "$0/root/tmp"
     cp "$1"/*.deb "$1/script" "$0/root/tmp"
     exec chroot "$0/root" sh -e /tmp/script 2>&1`,
    memory,
    box.path(""),
  );
}

test("the Debian package installs, enables nothing, and goes without a trace", () => {
  const box = sandbox();
  buildDeb(ownArchitecture, box.path("agent.deb"), TIME_SECONDS);
  const said = inCopyOfThisSystem(
    box,
    `export PATH=/usr/sbin:/usr/bin:/sbin:/bin
     unit=arcbox-data.service
     files() { find /usr /etc -name '*arcbox*' | sort; }
     files >/tmp/before
     dpkg --install /tmp/agent.deb
     arcbox-agent --version
     systemd-analyze verify --man=no $unit
     systemctl is-enabled $unit || true
     systemctl preset $unit
     systemctl is-enabled $unit || true
     bash -c '. /usr/share/bash-completion/completions/arcbox-agent'
     (cd /usr/share/doc/arcbox-agent && echo layout* layouts/*)
     systemctl --quiet enable $unit
     dpkg --purge arcbox-agent
     files | diff /tmp/before - && echo no file is left`,
  );
  expect(said).toContain("\narcbox-agent ");
  expect(said.match(/^(disabled|enabled)$/gm)).toEqual(["disabled", "disabled"]);
  expect(said).toContain(
    "\nlayout.schema.json layouts layouts.md layouts/nerdctl.json layouts/podman.json\n",
  );
  expect(said).toEndWith("\nno file is left\n");
});

test("the unit in the package starts the program where the package has it", () => {
  const box = sandbox();
  buildDeb("arm64", box.path("agent.deb"), TIME_SECONDS);
  command("dpkg-deb", "--extract", box.path("agent.deb"), box.path("unpacked"));
  const unit = readFileSync(
    box.path("unpacked/usr/lib/systemd/system/arcbox-data.service"),
    "utf8",
  );
  const programs = [...unit.matchAll(/^Exec\w+=(\S+)/gm)].map(([, program]) => program);
  expect(programs).toEqual(["/usr/sbin/arcbox-agent", "/usr/sbin/arcbox-agent"]);
  // e_machine of the ELF header: EM_AARCH64
  expect(readFileSync(box.path("unpacked/usr/sbin/arcbox-agent")).readUInt16LE(18)).toBe(183);
});

test.each(architectures)(
  "the package for %s is the same bytes whatever the umask",
  (architecture) => {
    const box = sandbox();
    const deb = (name: string, umask: number): Buffer => {
      const before = process.umask(umask);
      buildDeb(architecture, box.path(name), TIME_SECONDS);
      process.umask(before);
      return readFileSync(box.path(name));
    };
    expect(deb("one.deb", 0o022).equals(deb("other.deb", 0o077))).toBeTrue();
  },
);
