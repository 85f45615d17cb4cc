"""Stands for `test/service.py`, which the source package leaves out: no broker is started here."""


class ExternalService:
    def __init__(self, host, port):
        self.host = host
        self.port = port

    def open(self):
        pass

    def close(self):
        pass


class SpawnedService:
    def __init__(self, *args, **kwargs):
        raise RuntimeError("this suite runs on a broker that is there already")
