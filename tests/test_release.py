"""scripts/release.py, and what the sdist and the wheel hold."""

from pathlib import Path

import pytest

import release

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel of this tree."""
    return release.build(ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """Paths that git tracks, without those removed since the last commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("an unpacked sdist has no list of tracked files")
    return {path for path in release.tracked_files(ROOT) if (ROOT / path).exists()}


@pytest.fixture(scope="module")
def untracked(tracked: set[str]) -> set[str]:
    """Paths that could be tracked in the next commit."""
    return set(release.git(ROOT, "ls-files", "--others", "--exclude-standard").splitlines())


@pytest.mark.slow
def test_the_sdist_holds_what_is_tracked_and_nothing_by_accident(
    archives: tuple[Path, Path], tracked: set[str], untracked: set[str]
) -> None:
    found = release.sdist_files(archives[0])

    release.check_files("sdist", found - untracked, release.expected_in_sdist(tracked))


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_metadata(
    archives: tuple[Path, Path], tracked: set[str], untracked: set[str]
) -> None:
    found = release.wheel_files(archives[1])

    new = {path.removeprefix("src/") for path in untracked}
    release.check_files("wheel", found - new, release.expected_in_wheel(tracked))


def test_an_archive_with_other_files_is_named_with_each_of_them() -> None:
    with pytest.raises(release.NotReady, match=r"hookbot\.whl: lacks b\.py, holds notes\.txt; see"):
        release.check_files("hookbot.whl", {"a.py", "notes.txt"}, {"a.py", "b.py"})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone with one commit, from which 1.2.0 can be released."""
    (tmp_path / "changes").mkdir()
    (tmp_path / "changes" / "README.md").write_text("# News fragments\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.0 (2026-11-29)\n\n## 1.1.0 (2026-10-01)\n")
    release.git(tmp_path, "init", "--quiet")
    release.git(tmp_path, "add", ".")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    release.git(tmp_path, *author, "commit", "--quiet", "--message", "all")
    return tmp_path


def test_a_clean_tree_with_an_entry_in_the_changelog_can_be_released(repository: Path) -> None:
    release.check_tree(repository)
    release.check_version(repository, "1.2.0")


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.py"])
def test_a_tree_with_changes_is_not_released(repository: Path, name: str) -> None:
    (repository / name).write_text("x = 1\n")

    with pytest.raises(release.NotReady, match=rf"commit or remove them:\n.* {name}"):
        release.check_tree(repository)


def test_a_version_is_released_once(repository: Path) -> None:
    release.git(repository, "tag", "v1.2.0")

    with pytest.raises(release.NotReady, match=r"v1\.2\.0 is tagged already; raise the version"):
        release.check_version(repository, "1.2.0")


def test_a_version_without_an_entry_is_not_released(repository: Path) -> None:
    with pytest.raises(release.NotReady, match=r"no dated entry for 1\.2; run `make changelog`"):
        release.check_version(repository, "1.2")


def test_an_entry_without_a_date_is_not_enough(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("## 1.2.0 (unreleased)\n")

    with pytest.raises(release.NotReady, match=r"no dated entry for 1\.2\.0"):
        release.check_version(repository, "1.2.0")


def test_a_fragment_that_no_entry_has_is_named(repository: Path) -> None:
    (repository / "changes" / "12.feature.md").write_text("Something new.\n")

    with pytest.raises(release.NotReady, match=r"12\.feature\.md in changes/ came after the entry for 1\.2\.0"):
        release.check_version(repository, "1.2.0")


def test_a_command_that_fails_is_quoted_with_its_status() -> None:
    with pytest.raises(release.NotReady, match=r"`sh -c exit 3` failed with status 3"):
        release.run("sh", "-c", "exit 3")


def test_the_steps_that_remain_name_the_version_and_both_files() -> None:
    steps = release.NEXT_STEPS.format(version="1.2.0", sdist="dist/a.tar.gz", wheel="dist/a.whl")

    assert "git push origin v1.2.0" in steps
    assert "twine upload dist/a.tar.gz dist/a.whl" in steps
