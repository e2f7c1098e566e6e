"""Roles and machine identities of AWS, through a server that has one. The token service, instance
metadata and the store are one process, which checks every session."""

import json
import pathlib
import re

import pytest
from pymilvus import MilvusException

import helpers
from helpers import REFRESH_TIMEOUT_S

ROLE = "arn:aws:iam::123456789012:role/reader"
EXTERNAL_ID = "canary-external-5d1c"
BASE_KEY = "AKIABASE"
BASE_SECRET = "canary-base-02b7"
GUIDE = pathlib.Path(__file__).parents[2] / "docs/guide/credentials.md"


def guide_policies():
    """The permissions and the trust policy of the guide, with the names of these tests."""
    blocks = re.findall(r"```json\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    blocks = [block for block in blocks if "Statement" in block]
    names = [("my-bucket", "lake"), ("an-id-of-your-choice", EXTERNAL_ID)]
    for old, new in names:
        blocks = [block.replace(old, new) for block in blocks]
    permissions, trust = map(json.loads, blocks)
    return permissions, trust


def identities(**changes):
    permissions, trust = guide_policies()
    assume = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": ROLE}
    user = {"name": "pandion", "access_key": BASE_KEY, "secret_key": BASE_SECRET}
    return {
        "users": [{**user, "policy": {"Statement": assume}}],
        "roles": [{"arn": ROLE, "trust": trust, "policy": permissions}],
        "instance_role": ROLE,
        **changes,
    }


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """A store with roles. Its sessions last three seconds, so that tests outlive them."""
    directory = tmp_path_factory.mktemp("aws")
    server = helpers.S3Server(directory, identities=identities(session_seconds=3))
    yield server
    server.stop()


def started(tmp_path_factory, aws, *others, **environment):
    """A server for which that store is AWS, and which may also read the others."""
    endpoints = [store.host for store in (aws, *others)]
    server = helpers.PandionServer(tmp_path_factory.mktemp("aws-server"), endpoints=endpoints)
    url = f"http://{aws.host}"
    return server.start(AWS_ENDPOINT_URL=url, AWS_EC2_METADATA_SERVICE_ENDPOINT=url, **environment)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory, aws):
    """A client of a server that has keys in its environment."""
    keys = {"AWS_ACCESS_KEY_ID": BASE_KEY, "AWS_SECRET_ACCESS_KEY": BASE_SECRET}
    server = started(tmp_path_factory, aws, **keys)
    yield server.client()
    server.stop()
    for secret in (EXTERNAL_ID, BASE_KEY, BASE_SECRET):
        assert secret not in server.log(), "the log holds a secret"


@pytest.fixture(scope="module")
def instance(tmp_path_factory, aws, s3):
    """A client of a server on a machine whose metadata give it a role."""
    server = started(tmp_path_factory, aws, s3)
    yield server.client()
    server.stop()


class Lake(helpers.S3Lake):
    """A lake that is opened with an identity in place of keys."""

    def __init__(self, server, prefix, **extfs):
        super().__init__(server, prefix)
        self.extfs = extfs

    @property
    def spec(self):
        keys = {"access_key_id": None, "access_key_value": None, "cloud_provider": "aws"}
        return self.spec_with(**{**keys, **self.extfs})


def with_role(external_id=EXTERNAL_ID):
    return {"role_arn": ROLE, "external_id": external_id, "use_iam": "true"}


def test_a_role_reads_on_when_its_sessions_end(keyed, name, aws):
    lake = Lake(aws, name, **with_role())
    lake.put("a.parquet", helpers.rows_table(0, 50))
    helpers.make(keyed, name, lake)
    assert helpers.count(keyed, name) == 50
    described = keyed.describe_collection(name)["external_spec"]
    assert ROLE in described and EXTERNAL_ID not in described
    with aws.counted() as cost:
        rows = 50

        def three_sessions_later():
            nonlocal rows
            lake.put(f"b{rows}.parquet", helpers.rows_table(rows, 1))
            helpers.refresh(keyed, name)
            rows += 1
            assert helpers.count(keyed, name) == rows
            return aws.stats()["sts"] >= before["sts"] + 3

        before = aws.stats()
        helpers.wait_until(three_sessions_later, REFRESH_TIMEOUT_S, "three sessions did not pass")
    # What was put was put by this test: the source was read and nothing else.
    assert (cost["put"], cost["delete"], cost["metadata"]) == (rows - 50, 0, 0)


def test_who_is_not_trusted_reads_nothing(keyed, name, aws):
    lake = Lake(aws, name, **with_role("canary-other"))
    lake.put("a.parquet", helpers.rows_table(0, 10))
    with aws.counted() as cost:
        helpers.create(keyed, name, lake)
        reason = helpers.failed_refresh(keyed, name)
    assert ROLE in reason and "AccessDenied" in reason and "external_id" in reason
    assert "canary" not in reason
    assert (cost["list"], cost["get"], cost["metadata"]) == (0, 0, 0)


def test_the_identity_of_the_machine_reads(instance, name, aws):
    lake = Lake(aws, name, use_iam="true")
    lake.put("a.parquet", helpers.rows_table(0, 10))
    with aws.counted() as cost:
        helpers.make(instance, name, lake)
        assert helpers.count(instance, name) == 10
    assert cost["metadata"] >= 3 and cost["sts"] == 0


def test_other_stores_are_not_shown_the_identity(instance, name, aws, s3):
    with aws.counted() as cost, s3.counted() as shown:
        refused = {
            "not AWS's": Lake(s3, name, use_iam="true"),
            "extfs.iam_endpoint": Lake(s3, name, use_iam="true", cloud_provider="minio"),
            "tencent": Lake(s3, name, use_iam="true", cloud_provider="tencent"),
        }
        for part, lake in refused.items():
            with pytest.raises(MilvusException) as caught:
                helpers.create(instance, name, lake)
            assert part in caught.value.message
    assert (cost["metadata"], cost["sts"], sum(shown.values())) == (0, 0, 0)
