"""The GPU's driver by ctypes, and DLPack by hand, for tests that need no framework.

They run on a GPU, and on one that is played by the CPU (libcuda.so.1 of tests/soft_gpu, found by LD_LIBRARY_PATH).
"""

import ctypes


class Driver:
    """The functions of the driver that these tests need."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
        self.call("cuCtxSetCurrent", context)

    def find(self, name):
        function = ctypes.c_void_p()
        get = self.library.cuGetProcAddress_v2
        result = ctypes.c_int()
        assert get(name.encode(), ctypes.byref(function), 12040, ctypes.c_uint64(0), ctypes.byref(result)) == 0
        return ctypes.CFUNCTYPE(ctypes.c_int)(function.value)

    def call(self, name, *arguments):
        function = self.find(name)
        function.argtypes = None
        assert function(*arguments) == 0, name

    def stream(self):
        stream = ctypes.c_void_p()
        self.call("cuStreamCreateWithPriority", ctypes.byref(stream), 1, 0)
        return stream.value

    def fill(self, address, value, length, stream):
        self.call(
            "cuMemsetD8Async",
            ctypes.c_uint64(address),
            ctypes.c_ubyte(value),
            ctypes.c_size_t(length),
            ctypes.c_void_p(stream),
        )

    def write(self, address, data, stream):
        self.call(
            "cuMemcpyHtoDAsync", ctypes.c_uint64(address), data, ctypes.c_size_t(len(data)), ctypes.c_void_p(stream)
        )

    def read(self, address, length, stream):
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))
        data = ctypes.create_string_buffer(length)
        self.call("cuMemcpyDtoHAsync", data, ctypes.c_uint64(address), ctypes.c_size_t(length), ctypes.c_void_p(stream))
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))
        return data.raw

    def is_allocated(self, address):
        function = self.find("cuMemGetAddressRange")
        function.argtypes = None
        base, length = ctypes.c_uint64(), ctypes.c_size_t()
        return function(ctypes.byref(base), ctypes.byref(length), ctypes.c_uint64(address)) == 0


class Gate:
    """Stops a stream, as a kernel does that is slow, until it is opened; by the end of its ``with`` at the latest."""

    def __init__(self, driver):
        self._driver = driver
        self._word = ctypes.c_void_p()
        driver.call("cuMemHostAlloc", ctypes.byref(self._word), ctypes.c_size_t(4096), 1)
        ctypes.c_uint64.from_address(self._word.value).value = 0

    def stop(self, stream):
        wait = (ctypes.c_void_p(stream), ctypes.c_uint64(self._word.value), ctypes.c_uint64(1), 0)
        self._driver.call("cuStreamWaitValue64", *wait)

    def open(self):
        ctypes.c_uint64.from_address(self._word.value).value = 1  # it is never freed: that would wait for kernels

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.open()


class Managed(ctypes.Structure):
    """DLManagedTensorVersioned."""

    class Tensor(ctypes.Structure):
        _fields_ = (
            ("data", ctypes.c_void_p),
            ("device_type", ctypes.c_int32),
            ("device_id", ctypes.c_int32),
            ("ndim", ctypes.c_int32),
            ("code", ctypes.c_uint8),
            ("bits", ctypes.c_uint8),
            ("lanes", ctypes.c_uint16),
            ("shape", ctypes.POINTER(ctypes.c_int64)),
            ("strides", ctypes.POINTER(ctypes.c_int64)),
            ("byte_offset", ctypes.c_uint64),
        )

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


def tensor_of(capsule):
    """The capsule's tensor, and a function that ends it as a consumer does."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype = ctypes.c_void_p
    get.argtypes = (ctypes.py_object, ctypes.c_char_p)
    address = get(capsule, b"dltensor_versioned")
    managed = Managed.from_address(address)
    rename = ctypes.pythonapi.PyCapsule_SetName
    rename.argtypes = (ctypes.py_object, ctypes.c_char_p)
    rename(capsule, USED)
    return managed, lambda: managed.deleter(address)


USED = b"used_dltensor_versioned"
