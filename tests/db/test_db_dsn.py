"""A server by its DSN: over TCP with user and password, and what is said where that fails."""

from __future__ import annotations

import pickle
from urllib.parse import quote

import gymnasium as gym
import pytest

import cmat_gym  # noqa: F401 - registers the worlds
from cmat_gym.core.env import base_env
from cmat_gym.core.errors import BackendError, UsageError
from cmat_gym.envs.db.backend import Backend, open_backend
from cmat_gym.envs.db.env import DBEnv
from cmat_gym.envs.db.server import ServerBackend
from tests.db.samples import BOATS, PASSWORD, USER, Reachable


def test_the_line_is_tcp(mysql: Backend) -> None:
    """The account of an episode comes over the network as the caller's does."""
    mysql.load("db", [BOATS])
    assert mysql.execute("SELECT COUNT(*) FROM boats") == [(5,)]
    assert isinstance(mysql, ServerBackend)
    hosts = mysql._do("SELECT user, host FROM information_schema.processlist WHERE host LIKE '127.0.0.1:%%'")
    assert {user for user, _ in hosts} >= {USER, mysql._name}


def test_episodes_read_the_same_over_tcp(reachable: Reachable) -> None:
    envs = [gym.make("cmat/DB-v0", split="dev", memory=None, backend=backend) for backend in (None, reachable.dsn)]
    for task in range(40):
        openings = [env.reset(options={"task": task})[0] for env in envs]
        assert openings[0] == openings[1]
        done = False
        while not done:
            action = base_env(envs[0]).expert_action()
            assert base_env(envs[1]).expert_action() == action
            ours, theirs = (env.step(action) for env in envs)
            assert ours[:4] == theirs[:4]
            done = ours[2] or ours[3]
        assert ours[1] == 1.0
    for env in envs:
        env.close()


def test_a_pickle_connects_anew(reachable: Reachable) -> None:
    env = DBEnv(split="dev", backend=reachable.dsn)
    env.reset(options={"task": 3})
    copy = pickle.loads(pickle.dumps(env))
    assert copy.step(copy.expert_action()) == env.step(env.expert_action())
    env.close()
    copy.close()


def test_a_wrong_password_is_named_and_not_shown(reachable: Reachable) -> None:
    with pytest.raises(BackendError, match=r"127\.0\.0\.1.*Access denied.*Are user and password") as caught:
        open_backend(f"mysql://{quote(USER)}:guessed@127.0.0.1:{reachable.port}")
    assert "guessed" not in str(caught.value)
    with pytest.raises(BackendError, match="Access denied"):
        open_backend(f"mysql://nobody@127.0.0.1:{reachable.port}")


def test_an_account_that_may_not_create_is_told_so(reachable: Reachable) -> None:
    with pytest.raises(BackendError, match="must be able to create schemas and accounts"):
        open_backend(f"mysql://guest:guest@127.0.0.1:{reachable.port}")


def test_a_closed_port_asks_for_the_server() -> None:
    pytest.importorskip("pymysql")
    with pytest.raises(BackendError, match=r"at 127\.0\.0\.1:1 as 'root'.*Is the server running"):
        open_backend("mysql://root@127.0.0.1:1")


@pytest.mark.parametrize(
    "text", [f"mysql://{USER}:{PASSWORD}@h", "mysql://u:geheim@h/shop", "mysql://u:geheim@h:99999"]
)
def test_what_is_no_dsn_is_explained_without_its_password(text: str) -> None:
    with pytest.raises(UsageError, match=r"write mysql://user:password@host:3306.*without a database") as caught:
        open_backend(text)
    assert "geheim" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
