from typing_extensions import Buffer

MPEG_AUDIO: int
ADTS_AUDIO: int
DOLBY_AUDIO: int

def split(
    data: Buffer, at: int, kind: int, fixed: int, final: bool, synced: bool
) -> tuple[list[tuple[int, int]], int, int, bool]: ...
def flac_frames(
    data: Buffer, at: int, fixed_block: int, least: int, most: int, final: bool
) -> tuple[list[tuple[int, int, int, int]], int]: ...
def flac_sync(
    data: Buffer, at: int, fixed_block: int, least: int, most: int, final: bool
) -> tuple[int, int, int] | None: ...
def lacing(table: Buffer) -> tuple[list[int], int]: ...
def ogg_crc(page: Buffer) -> int: ...
def ts_payload(
    data: Buffer, pid: int, counter: int
) -> tuple[bytes, list[tuple[int, int | None, int]], int, int, bool]: ...
