#!/usr/bin/env python3
"""Who gets in over TLS: by a link that is good once, with a key that the server keeps, until it is revoked."""

import json
import os
import re
import shutil
import subprocess

import harness
from harness import BIN, until


class Enrol(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")
        (self.root / "letter").write_text("hello")
        self.listen = "127.0.0.1:0"
        self.serve()
        self.env = os.environ | {"XDG_CONFIG_HOME": str(self.dir / "config"), "XDG_STATE_HOME": str(self.dir / "states")}

    def serve(self):
        self.ebbd = self.daemon([BIN / "ebbd", "serve", self.root, "--listen", self.listen], f"ebbd{len(self.daemons)}")
        pattern = re.compile(r"serving .* on ebb://(127\.0\.0\.1:\d+)/")
        said = until(lambda: pattern.search(self.ebbd.text()), "ebbd says where it listens")
        self.listen = said.group(1)
        self.bare = f"ebb://{self.listen}/"

    def invite(self, *options):
        link = self.expect_run("ebbd", "invite", self.root, *options).strip()
        self.assertRegex(link, r"^ebb://127\.0\.0\.1:\d+/#[0-9a-f]{64}\.[0-9a-f]{64}$")
        return link

    def enter(self, source, name="user", **env):
        point, state = self.folder(f"{name}.mnt"), self.dir / f"{name}.state"
        daemon = self.daemon([BIN / "ebb", "mount", source, point, "-f", "-o", f"delay=0,state={state}"],
                             f"{name}{len(self.daemons)}", env=self.env | env)
        until(lambda: not daemon.alive() or harness.is_mounted(point), f"{name} is in or out")
        return point, daemon

    def enter_well(self, source, name="user", **env):
        point, daemon = self.enter(source, name, **env)
        self.assertTrue(daemon.alive(), daemon.text())
        return point, daemon

    def enter_badly(self, source, name="user", **env):
        _, daemon = self.enter(source, name, **env)
        daemon.end("a mount that is refused")
        return daemon.text()

    def leave(self, point, daemon):
        subprocess.run(["fusermount3", "-u", point], check=True, timeout=harness.LIMIT_S)
        daemon.end("the mount")

    def clients(self):
        return [json.loads(line) for line in self.expect_run("ebbd", "clients", self.root, "--json").splitlines()]

    def test_a_link_enrols_once_and_the_key_is_enough_from_then_on(self):
        link = self.invite()
        point, daemon = self.enter_well(link)
        self.assertEqual("hello", (point / "letter").read_text())
        (point / "answer").write_text("here")
        until(lambda: (self.root / "answer").read_text() == "here", "the answer is on the server")
        self.leave(point, daemon)
        self.assertEqual(1, len(self.clients()))
        self.leave(*self.enter_well(self.bare))
        # The same link, another key: used up.
        said = self.enter_badly(link, "thief", XDG_CONFIG_HOME=str(self.dir / "thief"))
        self.assertIn("used up", said)
        self.assertNotIn(link.split("#")[1], said)
        self.assertEqual(1, len(self.clients()))
        name = self.clients()[0]["name"]
        self.assertEqual(name, self.expect_run("ebbd", "clients", self.root).split()[0])

    def test_nobody_is_served_without_an_invitation(self):
        self.assertIn("not enrolled", self.enter_badly(self.bare))
        wrong = re.sub(r"\.[0-9a-f]{64}$", "." + "0" * 64, self.invite())
        self.assertIn("invitation", self.enter_badly(wrong, "guesser"))
        self.assertEqual([], self.clients())

    def test_who_is_revoked_is_cut_off_and_stays_out(self):
        point, daemon = self.enter_well(self.invite())
        self.assertEqual("hello", (point / "letter").read_text())
        self.expect_run("ebbd", "revoke", self.root, self.clients()[0]["name"])
        (self.root / "secret").write_text("not for you")
        until(lambda: "not enrolled" in daemon.text(), "the client is told")
        self.assertNotIn("secret", os.listdir(point))
        self.assertEqual("hello", (point / "letter").read_text())
        self.leave(point, daemon)
        self.assertIn("not enrolled", self.enter_badly(self.bare))
        self.expect_refusal("ebbd", "revoke", self.root, "nobody-of-this-name")

    def test_a_server_with_another_key_is_refused_with_what_it_means(self):
        self.leave(*self.enter_well(self.invite()))
        self.ebbd.process.terminate()
        self.ebbd.end("ebbd")
        (self.root / ".ebbd/key.pem").unlink()
        self.serve()
        self.assertIn("another key", self.enter_badly(self.bare))
        # A new invitation is the way back in.
        self.leave(*self.enter_well(self.invite()))

    def test_a_read_only_client_changes_nothing(self):
        point, _ = self.enter_well(self.invite("--read-only"))
        self.assertEqual("hello", (point / "letter").read_text())
        (point / "mine").write_text("x")
        until(lambda: os.getxattr(point / "mine", "user.ebb.state").startswith(b"error"), "the refusal is shown")
        self.assertEqual(["letter"], [name for name in os.listdir(self.root) if name != ".ebbd"])

    def test_an_invitation_while_the_server_is_down_is_good_when_it_is_back(self):
        self.ebbd.process.terminate()
        self.ebbd.end("ebbd")
        link = self.invite("--expires", "2h")
        self.serve()
        self.leave(*self.enter_well(link))

    def test_a_link_can_name_another_way_to_the_server(self):
        link = self.expect_run("ebbd", "invite", self.root, "--host", "files.example.org:7").strip()
        self.assertTrue(link.startswith("ebb://files.example.org:7/#"), link)
        self.expect_refusal("ebbd", "invite", self.root, "--expires", "soon", code=2)
        self.expect_refusal("ebbd", "invite", self.folder("never-served"))

    def make_part(self):
        """A folder of the tree that is to be somebody's whole tree."""
        part = self.root / "work/part"
        (part / "sub").mkdir(parents=True)
        (part / "mine").write_text("mine")
        (part / "sub/deep").write_text("deep")
        (self.root / "work/secret").write_text("not yours")
        return part

    def test_a_client_of_a_subtree_has_that_folder_as_its_tree(self):
        part = self.make_part()
        point, daemon = self.enter_well(self.invite("--subtree", "work/part"))
        self.assertEqual(["mine", "sub"], sorted(os.listdir(point)))
        self.assertEqual("deep", (point / "sub/deep").read_text())
        (point / "mine").write_text("changed")
        (point / "made").mkdir()
        (point / "sub/deep").rename(point / "made/deep")
        (point / "sub").rmdir()
        until(lambda: (part / "made/deep").exists() and not (part / "sub").exists(), "the renames are on the server")
        until(lambda: (part / "mine").read_text() == "changed", "the change is on the server")
        # Over the border is into being, or out of it.
        (self.root / "work/secret").rename(part / "given")
        until(lambda: (point / "given").read_text() == "not yours", "what came in is there")
        (part / "given").rename(self.root / "work/secret")
        until(lambda: not (point / "given").exists(), "what went out is gone")
        (self.root / "elsewhere").write_text("x")
        (part / "last").write_text("x")
        until((point / "last").exists, "a later change inside")
        self.assertEqual(["last", "made", "mine"], sorted(os.listdir(point)))
        self.assertIn("replaced", self.expect_run("ebb", "history", point / "mine"))
        shutil.rmtree(part / "made")
        until(lambda: not (point / "made").exists(), "what goes with all that is in it is gone")
        self.leave(point, daemon)
        self.assertEqual("work/part", self.clients()[0]["subtree"])
        point, daemon = self.enter_well(self.bare)  # the key alone gets no more
        self.assertEqual(["last", "mine"], sorted(os.listdir(point)))
        self.leave(point, daemon)
        self.assertIn("no such folder", self.enter_badly(self.bare + "work", "further"))
        self.assertIn("names with slashes", self.enter_badly(self.bare + "../work", "up"))

    def test_a_part_of_the_tree_is_mounted_by_its_path(self):
        part = self.make_part()
        self.leave(*self.enter_well(self.invite()))
        point, daemon = self.enter_well(self.bare + "work/part/", "part")
        self.assertEqual(["mine", "sub"], sorted(os.listdir(point)))
        (point / "new").write_text("new")
        until(lambda: (part / "new").read_text() == "new", "it is on the server")
        whole, other = self.enter_well(self.bare)  # beside it, with a state of its own
        self.assertEqual("new", (whole / "work/part/new").read_text())
        (whole / "work/part/mine").write_text("from above")
        until(lambda: (point / "mine").read_text() == "from above", "the part sees it")
        self.leave(whole, other)
        self.leave(point, daemon)
        # It is another tree than the whole one, for a state folder too.
        self.assertIn("another tree", self.enter_badly(self.bare, "part"))
        self.assertIn("no such folder", self.enter_badly(self.bare + "nowhere", "nowhere"))
        (self.root / "link").symlink_to("work")
        self.assertIn("no such folder", self.enter_badly(self.bare + "link/part", "link"))

    def test_a_subtree_is_a_folder_of_the_tree(self):
        self.make_part()
        (self.root / "link").symlink_to("work")
        for wrong in ("nowhere", "letter", "link/part", "../", ".ebbd"):
            self.expect_refusal("ebbd", "invite", self.root, "--subtree", wrong)
        self.invite("--subtree", str(self.root / "work/part/"))  # as the shell completes it
        self.assertEqual([], self.clients())


if __name__ == "__main__":
    harness.main()
