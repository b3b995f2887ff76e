"""scripts/release.py, and what the sdist and the wheel hold."""

from pathlib import Path

import pytest

import release

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The sdist and the wheel of this tree."""
    return release.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def tracked():
    """Paths that git tracks, without those removed since the last commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked sdist has no list of tracked files")
    return {path for path in release.tracked_files(ROOT) if (ROOT / path).exists()}


@pytest.fixture(scope="module")
def untracked(tracked):
    """Paths that could be tracked in the next commit."""
    return set(release.git(ROOT, "ls-files", "--others", "--exclude-standard").splitlines())


def test_the_sdist_holds_what_is_tracked_and_nothing_by_accident(archives, tracked, untracked):
    found = release.sdist_files(archives[0])

    release.check_files("sdist", found - untracked, release.expected_in_sdist(tracked))


def test_the_wheel_holds_the_package_and_its_metadata(archives, tracked, untracked):
    found = release.wheel_files(archives[1])

    new = {path.removeprefix("src/") for path in untracked}
    release.check_files("wheel", found - new, release.expected_in_wheel(tracked))


def test_an_archive_with_other_files_is_named_with_each_of_them():
    with pytest.raises(release.NotReady, match=r"hookbot\.whl: lacks b\.py, holds notes\.txt; see"):
        release.check_files("hookbot.whl", {"a.py", "notes.txt"}, {"a.py", "b.py"})


@pytest.fixture
def repository(tmp_path):
    """A clone with one commit, from which 1.2.0 can be released."""
    (tmp_path / "a.py").write_text("")
    release.git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def commit(repository):
    release.git(repository, "add", ".")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com")
    release.git(repository, *author, "commit", "--quiet", "--message", "all")


def test_a_clean_tree_can_be_released(repository):
    release.check_tree(repository)


@pytest.mark.parametrize("name", ["a.py", "new.py"])
def test_a_tree_with_changes_is_not_released(repository, name):
    (repository / name).write_text("x = 1\n")

    with pytest.raises(release.NotReady, match=rf"commit or remove them:\n.* {name}"):
        release.check_tree(repository)
