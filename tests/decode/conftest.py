import pytest


@pytest.fixture(scope="session", autouse=True)
def _portal_is_up():
    """The portal's thread and descriptors are made once a process; they are no test's leak."""
    from kithara.portal import portal

    portal()
