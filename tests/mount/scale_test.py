#!/usr/bin/env python3
"""Large numbers: names, open files and threads."""

import os
import resource
import threading

import harness


class Scale(harness.MountCase):
    def setUp(self):
        super().setUp()
        self.root = self.folder("root")

    def test_more_files_are_open_than_the_daemon_may_open(self):
        count = 600
        for number in range(count):
            (self.root / f"{number}").write_bytes(b"%d" % number * 50)
        at = harness.Mount(self, self.server(self.root))
        at.prefix = ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh"]
        self.mounts.append(at)
        at.start()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * count), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        files = []
        for number in range(count):
            files.append(open(at / f"{number}", "rb", buffering=0))
            self.addCleanup(files[-1].close)
            self.assertEqual(b"%d" % number * 50, files[-1].read())
        for number in range(0, count, 7):
            self.assertEqual(b"%d" % number * 50, os.pread(files[number].fileno(), 1000, 0))

    def test_a_folder_of_100_000_names_is_listed(self):
        names = [f"{number:06}" for number in range(100_000)]
        os.mkdir(self.root / "many")
        for name in names:
            os.mknod(self.root / "many" / name)
        at = self.mount(self.server(self.root)) / "many"
        self.assertEqual(names, sorted(os.listdir(at)))

    def test_64_threads_at_once(self):
        at, wrong = self.mount(self.server(self.root)), []

        def work(number):
            for step in range(6):
                path, content = at / f"{number}.{step}", bytes([number]) * (step * 3000 + 1)
                path.write_bytes(content)
                os.rename(path, at / f"{number}")
                if (at / f"{number}").read_bytes() != content or f"{number}" not in os.listdir(at.path):
                    wrong.append((number, step))
        threads = [threading.Thread(target=work, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], wrong)
        at.wait()
        self.assert_same_tree(at.path, self.root)


if __name__ == "__main__":
    harness.main()
