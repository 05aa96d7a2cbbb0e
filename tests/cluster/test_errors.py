import pickle
from pathlib import Path

import pytest

from es_ingest.cluster import errors


@pytest.mark.parametrize(
    "error",
    [
        errors.ClusterError("m"),
        errors.OptionError("m", value="x"),
        errors.NoServerError("m", url="http://h:1"),
        errors.AuthenticationError("m", url="http://h:1"),
        errors.DockerError("m"),
        errors.JdkNotFoundError("m", minimum=17, found=["a"]),
        errors.DownloadError("m", path=Path("p"), expected="e", actual="a"),
        errors.FolderError("m", path=Path("p")),
        errors.PortInUseError("m", port=1),
        errors.ServerDiedError("m", returncode=1, log_tail=["a", "b"]),
        errors.AlreadyRunningError("m", pid=1, data=Path("d")),
        errors.StartLockError("m", path=Path("p"), waited=1.5),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_pickle_with_their_data(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == "m"
    assert vars(again) == vars(error)
