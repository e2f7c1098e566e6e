"""Volumes, named credentials and the default storage, which an administrator defines and a user
refers to without seeing a secret."""

import json

import pytest
from pymilvus import MilvusException

import helpers
from helpers import ACCESS_KEY, REGION, SECRET_KEY


class NamedLake(helpers.S3Lake):
    """A lake that a user describes without knowing its keys."""

    def __init__(self, server, prefix, source=None, spec=None):
        super().__init__(server, prefix)
        self.source = source or self.source
        self.named_spec = {"format": "parquet"} if spec is None else spec

    @property
    def spec(self):
        return json.dumps(self.named_spec)


def settings(s3, secret_file, name, default_storage=True):
    """The YAML text that defines a volume and a credential for the folder `name`."""
    keys = {
        "cloud_provider": "minio",
        "region": REGION,
        "use_ssl": False,
        "access_key_id": ACCESS_KEY,
        "access_key_value_file": str(secret_file),
    }
    inside = f"minio://{s3.host}/{s3.bucket}/{name}"
    source = {
        "volumes": [{"name": "products", "uri": inside, "credential": "inside"}],
        "credentials": [{"name": "inside", "allowed": [inside], "extfs": keys}],
    }
    if default_storage:
        source["default_storage"] = {"extfs": keys}
    # JSON is YAML, too.
    return json.dumps({"source": source})


@pytest.fixture
def own(tmp_path, s3, name):
    """A server with names of its own; `configure` writes the settings for its next start."""
    secret_file = tmp_path / "secret"
    config = tmp_path / "pandion.yaml"
    server = helpers.PandionServer(
        tmp_path, endpoints=[s3.host], arguments=["--config", str(config)]
    )

    def configure(secret=SECRET_KEY, **arguments):
        secret_file.write_text(secret + "\n")
        config.write_text(settings(s3, secret_file, name, **arguments))

    server.configure = configure
    configure()
    yield server
    server.stop()
    assert SECRET_KEY not in server.log(), "the log holds a secret"


def forms(s3, name):
    """What a user may write for the same table."""
    inside = f"s3://{s3.host}/{s3.bucket}/{name}/t/"
    remote = {"format": "parquet", "extfs": {"storage_type": "remote"}}
    return [
        NamedLake(s3, f"{name}/t", "volume://products/t/"),
        NamedLake(s3, f"{name}/t", "volume://products/t", remote),
        NamedLake(s3, f"{name}/t", inside, {"format": "parquet", "credential": "inside"}),
        NamedLake(s3, f"{name}/t", inside),
        NamedLake(s3, f"{name}/t", inside, remote),
    ]


def test_what_is_named_is_searched_and_only_the_name_is_shown(own, s3, name):
    client = own.start().client()
    for number, lake in enumerate(forms(s3, name)):
        lake.put("a.parquet", helpers.rows_table(0, 10))
        collection = f"{name}_{number}"
        helpers.make(client, collection, lake)
        assert helpers.count(client, collection) == 10
        described = client.describe_collection(collection)
        assert described["external_source"] == lake.source
        assert json.loads(described["external_spec"]) == lake.named_spec
        jobs = client.list_refresh_external_collection_jobs(collection)
        assert [job.external_source for job in jobs] == [lake.source]
        shown = f"{described} {jobs}"
        assert SECRET_KEY not in shown and ACCESS_KEY not in shown


def test_a_rotated_secret_and_a_removed_volume_need_no_change_of_a_collection(own, s3, name):
    lake = NamedLake(s3, f"{name}/t", "volume://products/t/")
    lake.put("a.parquet", helpers.rows_table(0, 10))
    own.configure(secret="outdated")
    client = own.start().client()
    helpers.create(client, name, lake)
    assert "outdated" not in helpers.failed_refresh(client, name)
    own.stop()

    own.configure()
    client = own.start().client()
    helpers.refresh(client, name)
    client.load_collection(name)
    assert helpers.count(client, name) == 10
    own.stop()

    (own.directory / "pandion.yaml").write_text("{}")
    client = own.start().client()
    assert 'volume "products" does not exist' in helpers.failed_refresh(client, name)
    assert client.describe_collection(name)["external_source"] == lake.source


@pytest.mark.parametrize(
    ("source", "spec", "message"),
    [
        ("volume://nowhere/t/", {}, 'volume "nowhere" does not exist'),
        ("volume://products/../x/", {}, "must stay inside its volume"),
        ("volume://products/%2e%2e/x/", {}, "must stay inside its volume"),
        ("volume://products/a%2f..%2fx/", {}, "must stay inside its volume"),
        ("volume://products/t/", {"extfs": {"region": "x"}}, "as its administrator defined it"),
        (None, {"credential": "nobody"}, 'credential "nobody" does not exist'),
        (None, {"credential": "inside"}, 'credential "inside" may not be used for'),
        (
            None,
            {"credential": "inside", "extfs": {"anonymous": "true"}},
            'credential "inside" and extfs.anonymous are mutually exclusive',
        ),
    ],
)
def test_what_may_not_be_is_refused_by_name(own, s3, name, source, spec, message):
    client = own.start().client()
    source = source or f"s3://{s3.host}/{s3.bucket}/elsewhere/t/"
    with pytest.raises(MilvusException) as caught:
        helpers.create(client, name, NamedLake(s3, name, source, spec), indexes={})
    assert caught.value.code == 1100, caught.value.message
    assert message in caught.value.message
    assert not client.has_collection(name)


def test_a_server_without_a_default_storage_says_so(own, s3, name):
    own.configure(default_storage=False)
    client = own.start().client()
    for spec in [{"format": "parquet"}, {"extfs": {"storage_type": "remote"}}]:
        with pytest.raises(MilvusException) as caught:
            helpers.create(client, name, NamedLake(s3, name, spec=spec), indexes={})
        assert "extfs.cloud_provider is required" in caught.value.message
        assert "source.default_storage" in caught.value.message


def test_a_server_does_not_start_with_a_definition_that_would_not_open(own):
    volume = [{"name": "v", "uri": "s3://b/t", "extfs": {"access_key_value": SECRET_KEY}}]
    with pytest.raises(AssertionError) as caught:
        own.start(PANDION_SOURCE__VOLUMES=json.dumps(volume))
    assert 'volume "v": external_spec is invalid' in str(caught.value)


def test_the_environment_defines_volumes(own, s3, name):
    extfs = {"access_key_id": ACCESS_KEY, "access_key_value": SECRET_KEY}
    uri = f"minio://{s3.host}/{s3.bucket}"
    volume = [{"name": "whole", "uri": uri, "extfs": extfs}]
    client = own.start(PANDION_SOURCE__VOLUMES=json.dumps(volume)).client()
    lake = NamedLake(s3, name, f"volume://whole/{name}/")
    lake.put("a.parquet", helpers.rows_table(0, 10))
    helpers.make(client, name, lake)
    assert helpers.count(client, name) == 10
