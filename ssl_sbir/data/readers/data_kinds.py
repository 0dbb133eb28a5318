"""The table of kinds of data; a package of one's own adds to it through `ssl_sbir.readers`."""

from collections.abc import Callable

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.registry import Registry

# A reader takes the spec as the user wrote it, the path after its colon, and its own keyword options.
Reader = Callable[..., Manifest]

READERS: Registry[Reader] = Registry("kind of data", "ssl-sbir data list", group="ssl_sbir.readers")
