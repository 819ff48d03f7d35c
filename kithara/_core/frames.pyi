from typing_extensions import Buffer

MPEG_AUDIO: int
ADTS_AUDIO: int
DOLBY_AUDIO: int

def split(
    data: Buffer, at: int, kind: int, fixed: int, final: bool, synced: bool
) -> tuple[list[tuple[int, int]], int, int, bool]: ...
