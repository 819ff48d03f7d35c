from typing_extensions import Buffer

def cut(data: Buffer, base: int, places: list[tuple[int, int, int]], first: int) -> list[tuple[bytes, int]]: ...
def cut_sizes(data: Buffer, at: int, sizes: list[int], opus: bool) -> list[tuple[bytes, int]]: ...
def run_places(
    data: Buffer,
    at: int,
    count: int,
    step: int,
    duration_at: int,
    size_at: int,
    duration: int,
    size: int,
    place: int,
) -> tuple[list[tuple[int, int, int]], int, int]: ...
def opus_samples(packet: Buffer) -> int: ...
def cluster_packets(
    data: Buffer, at: int, number: int, cluster: int, fresh: bool, nominal: int, opus: bool
) -> tuple[list[tuple[bytes, int]], int, int, bool, int, tuple[int, int, int, int] | None]: ...
