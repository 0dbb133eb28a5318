"""The table of kinds of data; other packages add to it through the entry-point group `ssl_sbir.readers`."""

from collections.abc import Callable

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.registry import Registry

# A reader takes the spec as the user wrote it, the path after its colon, and keyword options.
Reader = Callable[..., Manifest]

READERS: Registry[Reader] = Registry("kind of data", "ssl-sbir data list", group="ssl_sbir.readers")
