"""YouTube-VIS 2019."""

train = {"iterations": 6000, "schedule": {"milestones": [4000], "gamma": 0.1}}
