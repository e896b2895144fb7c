#!/usr/bin/env python3
"""Who may mount, and who may do what: the mounting user, root with allow_other, mount(8)'s helper, and the root folder itself."""

import os
import subprocess
import unittest

import harness
from harness import BIN

SOMEBODY = 65534


def as_somebody(*command):
    return ["setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups", *map(str, command)]


@unittest.skipIf(os.geteuid() != 0, "only root can become somebody else")
class Access(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.dir.chmod(0o755)

    def test_a_user_mounts_without_being_root(self):
        root = self.folder("root")
        (root / "letter").write_text("hello")
        place, state, device = self.folder("user.mnt"), self.folder("state"), self.dir / "fuse"
        for path in (root, root / "letter", place, state):
            os.chown(path, SOMEBODY, SOMEBODY)
        # Where only root may open /dev/fuse: one that everybody may, in a mount namespace of the test's own.
        os.mknod(device, 0o666 | 0o020000, os.stat("/dev/fuse").st_rdev)
        device.chmod(0o666)
        script = f"""
            set -e
            {BIN}/ebb mount {root} {place} -o delay=0,state={state}
            trap 'fusermount3 -u {place}' EXIT
            cat {place}/letter
            echo more > {place}/answer
            {BIN}/ebb wait {place}
            stat -c ' %u %a' {place}/letter"""
        run = self.run_program(
            "unshare", "-m", "--propagation", "private", "sh", "-c",
            f'mount --bind {device} /dev/fuse && exec "$@"', "sh", *as_somebody("sh", "-c", script),
            env=os.environ | {"HOME": str(state), "XDG_STATE_HOME": str(state)})
        self.assertEqual((0, f"hello {SOMEBODY} 644\n"), (run.returncode, run.stdout), run.stderr)
        self.assertEqual("more\n", (root / "answer").read_text())

    def test_the_root_folder_is_as_on_the_server_from_the_first_look(self):
        root = self.folder("root")
        (root / "inside").write_text("x")
        root.chmod(0o750)
        os.chown(root, SOMEBODY, SOMEBODY)
        mount = self.mount(self.server(root), options=["allow_other"])
        seen = os.stat(mount.path)
        self.assertEqual((0o40750, SOMEBODY, SOMEBODY), (seen.st_mode, seen.st_uid, seen.st_gid))
        self.expect_run(*as_somebody("touch", mount / "made"))

    def test_a_mode_given_to_the_root_folder_reaches_the_server(self):
        root = self.folder("root")
        mount = self.mount(self.server(root))
        mount.path.chmod(0o711)
        mount.wait()
        self.assertEqual(0o40711, os.stat(root).st_mode)

    def test_the_helper_of_mount_takes_what_fstab_has(self):
        root, place = self.folder("root"), self.folder("helper.mnt")
        (root / "letter").write_text("hello")
        (root / "letter").chmod(0o640)
        os.chown(root / "letter", SOMEBODY, SOMEBODY)
        self.expect_run(BIN / "mount.ebbfs", root, place, "-o",
                        f"rw,nosuid,nodev,noauto,_netdev,allow_other,default_permissions,delay=0,state={self.dir}/state")
        try:
            self.assertEqual("hello", self.expect_run(*as_somebody("cat", place / "letter")))
        finally:
            subprocess.run(["umount", place], check=True, timeout=harness.LIMIT_S)

    def test_others_are_kept_out_without_allow_other(self):
        root = self.folder("root")
        (root / "letter").write_text("hello")
        mount = self.mount(self.server(root))
        self.assertNotEqual(0, self.run_program(*as_somebody("cat", mount / "letter")).returncode)


if __name__ == "__main__":
    harness.main()
