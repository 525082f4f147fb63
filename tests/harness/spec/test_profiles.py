"""What a profile says of itself: what its numbers mean, what it needs, when it is the default."""

import re

import pytest
import yaml

from ifrvis.errors import UserError
from ifrvis.harness.spec.profiles import default_profiles, load_profile
from ifrvis.packed import packed


def test_the_packed_profiles_say_what_their_numbers_can_be_taken_for():
    paper, mini, smoke = map(load_profile, ("paper", "mini", "smoke"))
    assert [each.compares for each in (paper, mini, smoke)] == [True, False, False]
    assert [each.numbers for each in (paper, mini, smoke)] == ["measured", "measured", "nothing"]
    assert [each.needs_gpu for each in (paper, mini, smoke)] == [True, False, False]
    assert default_profiles() == [paper, mini]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sides": {"360": 0}}, "'360' in 'sides' in {}: it should be greater"),
        ({"backbones": {"r5O": {}}}, "Rename 'r5O' in 'backbones' to one of r101, r50, "),
        ({"learning": {"videos": 0}}, "'videos' in 'learning' in {}: it should be greater"),
    ],
)
def test_a_profile_that_cannot_be_is_refused(changes, message, tmp_path):
    path = tmp_path / "mine.yaml"
    smoke = yaml.safe_load(packed("experiments", "profiles", "smoke.yaml").read_text())
    path.write_text(yaml.safe_dump(smoke | changes))
    with pytest.raises(UserError, match=re.escape(message.format(path))):
        load_profile(str(path))
