#!/usr/bin/env python3
"""A short run of random_operations.py, from fixed seeds."""

import random

import harness
import random_operations


class RandomOperations(harness.MountCase):
    def test_every_step_is_as_the_shadow_has_it(self):
        random_operations.Run(self, random.Random(harness.seed(1))).operations(900)

    def test_through_the_daemon_alone(self):
        random_operations.Run(self, random.Random(harness.seed(2)), "no_passthrough").operations(900)


if __name__ == "__main__":
    harness.main()
