from typing_extensions import Buffer

def flac_frames(
    data: Buffer, at: int, fixed_block: int, least: int, most: int, final: bool
) -> tuple[list[tuple[int, int, int, int]], int]: ...
def flac_sync(
    data: Buffer, at: int, fixed_block: int, least: int, most: int, final: bool
) -> tuple[int, int, int] | None: ...
