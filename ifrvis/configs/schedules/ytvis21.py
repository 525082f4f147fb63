"""YouTube-VIS 2021."""

train = {"iterations": 8000, "schedule": {"milestones": [5500], "gamma": 0.1}}
