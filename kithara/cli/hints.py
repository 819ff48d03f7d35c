"""What to try next, for each error that a user can do something about."""

from __future__ import annotations

import errno

from .. import errors

HINTS: dict[type[errors.KitharaError], str] = {
    errors.ConnectFailed: "Check the address and your connection; what the cache holds plays with --offline.",
    errors.NetTimeout: "The server is slow or gone: try again, or give it longer with --timeout SECONDS.",
    errors.BodyTruncated: "Try again: what has arrived is kept and not fetched twice.",
    errors.RetryExhausted: "Try again later: what has arrived is kept and not fetched twice.",
    errors.RepresentationChanged: "The file changed at the server; `kithara fetch --refresh URL` fetches it anew.",
    errors.ContentEncodingRejected: "The server compresses audio although it was asked not to; tell its owner.",
    errors.RedirectRejected: "Open the final address yourself if you trust it.",
    errors.PolicyDenied: "Kithara opens http, https, file: and paths; a public one may not lead to a private host.",
    errors.NoSpace: "Free some space, drop assets with `kithara cache rm`, or choose another disk with --cache DIR.",
    errors.ReadOnlyStore: "Choose a folder that can be written with --cache DIR, or keep nothing with --no-cache.",
    errors.CacheCorrupt: "Something changed the cached file; `kithara cache verify` drops what is damaged.",
    errors.Busy: "Another process is at it; wait for it to end, or use a cache of your own with --cache DIR.",
    errors.OfflineMiss: "Fetch it while online: `kithara fetch URL`.",
    errors.UnsupportedMedia: "It may be a web page, or of a format unknown here: look at it in a browser.",
    errors.DecodeError: "It may be a web page or a damaged file: look at it with `curl -I URL` or in a browser.",
    errors.PlaylistInvalid: "The address may need to be that of the .m3u8 itself, not of the page around it.",
    errors.Unsupported: "The stream is protected by a scheme that Kithara does not support.",
    errors.WaitTimeout: "Give it longer with --timeout SECONDS.",
}

STATUS_HINTS = {
    401: "It needs credentials: --header 'Authorization: …'.",
    403: "It is not yours to read, or needs credentials: --header 'Authorization: …'.",
    404: "Check the address: the server does not know it.",
    410: "It has gone for good.",
    429: "The server wants fewer requests: try again later.",
}

FILE_HINTS = {
    errno.ENOENT: "Check the path: there is no such file.",
    errno.EACCES: "You may not read it: check its permissions.",
    errno.EISDIR: "It is a folder: name one of the files in it.",
}


def hint(error: errors.KitharaError) -> str | None:
    """One sentence on what to try after *error*, or None where nobody could know."""
    if isinstance(error, errors.HttpStatus):
        return STATUS_HINTS.get(error.status, "The server is in trouble: try again later." if error.retryable else None)
    if isinstance(error, errors.LocalFileError) and error.errno in FILE_HINTS:
        return FILE_HINTS[error.errno]
    if isinstance(error, errors.RetryExhausted) and isinstance(error.__cause__, errors.KitharaError):
        return hint(error.__cause__)
    for kind in type(error).__mro__:
        if kind in HINTS:
            return HINTS[kind]
    return None
