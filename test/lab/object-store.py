"""OpenStack Swift with its S3 API, all in one process: ring, account, container, object server and proxy.

Give it a folder on a file system with extended attributes, the address to serve at, and on standard input one line of JSON:
{"keys": {ACCESS: {"secret": SECRET, "reads": BUCKET}}}; with "reads" a key only reads from that bucket.
Prints one line of JSON with its port when it serves, and ends when standard input closes.
"""

import json
import os
import sys

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
import swift.common.utils as utils  # noqa: E402

FOLDER = os.path.abspath(sys.argv[1])
ADDRESS = sys.argv[2]
KEYS = json.loads(sys.stdin.readline())["keys"]
SWIFT_CONF = os.path.join(FOLDER, "swift.conf")
DEVICES = os.path.join(FOLDER, "devices")
os.makedirs(os.path.join(DEVICES, "disk"), exist_ok=True)
with open(SWIFT_CONF, "w") as file:
    file.write("[swift-hash]\nswift_hash_path_prefix = lab\nswift_hash_path_suffix = lab\n")
    file.write("[storage-policy:0]\nname = default\ndefault = yes\n")
utils.SWIFT_CONF_FILE = SWIFT_CONF
utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b"lab"

from swift.account.server import AccountController  # noqa: E402
from swift.common import storage_policy  # noqa: E402
from swift.common.http_protocol import SwiftHttpProtocol  # noqa: E402
from swift.common.middleware.tempauth import TempAuth  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402
from swift.container.server import ContainerController  # noqa: E402
from swift.obj.server import ObjectController  # noqa: E402

storage_policy.reload_storage_policies()


class Keys(TempAuth):
    """Access keys of S3: tempauth's own need a colon, at which clients cut them."""

    def __init__(self, app, conf):
        super().__init__(app, conf)
        account = {"url": "$HOST/v1/AUTH_lab", "groups": [".admin"]}
        self.users = {access: {"key": key["secret"], **account} for access, key in KEYS.items()}

    def __call__(self, env, start_response):
        # It asks for a cache before it looks at signatures, which need none.
        env.setdefault("swift.cache", Nothing())
        return super().__call__(env, start_response)

    def authorize(self, req):
        reads = KEYS.get((req.remote_user or "").split(",")[0], {}).get("reads")
        container = req.split_path(2, 4, True)[2]
        if reads and (container != reads or req.method not in ("GET", "HEAD")):
            return self.denied_response(req)
        return super().authorize(req)


class Nothing:
    def get(self, *_, **__):
        return None

    def set(self, *_, **__):
        return None

    def incr(self, *_, **__):
        return 0

    delete = set


def keys_factory(_, **__):
    return lambda app: Keys(app, {})


def serve(app, socket):
    wsgi.server(socket, app, utils.NullLogger(), protocol=SwiftHttpProtocol, debug=False)


CONF = {
    "swift_dir": FOLDER,
    "devices": DEVICES,
    "mount_check": "false",
    "log_address": os.path.join(FOLDER, "no-log"),
}
SERVERS = {"account": AccountController, "container": ContainerController, "object": ObjectController}

for name, controller in SERVERS.items():
    socket = eventlet.listen(("127.0.0.1", 0))
    port = socket.getsockname()[1]
    builder = RingBuilder(1, 1, 0)
    device = {"id": 0, "region": 1, "zone": 1, "weight": 1, "ip": "127.0.0.1", "port": port, "device": "disk"}
    builder.add_dev({**device, "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(os.path.join(FOLDER, name + ".ring.gz"))
    SERVERS[name] = (controller, socket)

for name, (controller, socket) in SERVERS.items():
    eventlet.spawn(serve, controller(dict(CONF)), socket)

# paste looks the filter up in a module.
sys.modules["lab_keys"] = sys.modules["__main__"]
PROXY_CONF = os.path.join(FOLDER, "proxy.conf")
with open(PROXY_CONF, "w") as file:
    file.write(
        """[DEFAULT]
swift_dir = %s
log_address = %s
[pipeline:main]
pipeline = catch_errors s3api keys proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
auth_pipeline_check = false
location = us-east-1
[filter:keys]
paste.filter_factory = lab_keys:keys_factory
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
"""
        % (FOLDER, CONF["log_address"])
    )
front = eventlet.listen((ADDRESS, 0))
eventlet.spawn(serve, loadapp(PROXY_CONF), front)
print(json.dumps({"port": front.getsockname()[1]}), flush=True)
# Whoever started it is gone.
eventlet.tpool.execute(sys.stdin.read)
