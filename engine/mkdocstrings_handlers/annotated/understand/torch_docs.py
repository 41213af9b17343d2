"""
# Where PyTorch explains a name

PyTorch names the pages of its documentation by a few rules, so its inventory, which is the longer list, doesn't have to be fetched to build the site: a build
needs no network. A name that no rule covers, a private one or one in an inner module, gets no link: better none than one that leads nowhere. That each rule holds
for real names is tested against `torch` itself.
"""

from __future__ import annotations

DOCS = "https://docs.pytorch.org/docs/stable"

# What has a page of its own.
PAGES = {
    f"torch.{name}": name
    for name in (
        *("amp", "autograd", "cuda", "fft", "func", "fx", "linalg", "nn"),
        *("nn.functional", "nn.init", "optim", "special", "testing"),
    )
} | {
    "torch": "torch",
    "torch.Tensor": "tensors",
    "torch.utils.benchmark": "benchmark_utils",
    "torch.utils.checkpoint": "checkpoint",
    "torch.utils.data": "data",
}
# In these modules a name is an entry on its module's page; in a module that isn't listed here, it has a page to itself.
ENTRIES = {
    "torch.amp",
    "torch.fx",
    "torch.nn.init",
    "torch.special",
    "torch.testing",
    "torch.utils.benchmark",
    "torch.utils.checkpoint",
    "torch.utils.data",
}
# These have no page of their own, only their names do.
LISTED = {
    "torch.autograd.functional",
    "torch.nn.utils",
    "torch.nn.utils.parametrizations",
    "torch.optim.lr_scheduler",
}
# Spelled like functions, but modules, and without a page that a rule could name.
INNER = {
    "torch": """
        accelerator ao backends classes compiler cpp cpu distributed distributions export
        functional futures hub jit library masked monitor mps mtia multiprocessing nested onnx
        ops overrides package profiler quantization quasirandom random return_types
        serialization signal sparse storage torch_version types utils version windows xpu
    """,
    "torch.autograd": """
        anomaly_mode forward_ad function functional grad_mode graph profiler profiler_legacy
        profiler_util
    """,
    "torch.cuda": """
        amp gds graphs green_contexts jiterator memory nccl nvtx profiler random sparse streams
        tunable
    """,
    "torch.nn": """
        attention common_types grad intrinsic modules parallel parameter qat quantizable
        quantized utils
    """,
    "torch.nn.utils": """
        clip_grad convert_parameters fusion init memory_format parametrizations parametrize prune
        rnn stateless
    """,
    "torch.optim": "lr_scheduler swa_utils",
}
# What describes a tensor shares a page, and so do all the types of numbers.
ATTRIBUTES = {"torch.dtype", "torch.device", "torch.layout", "torch.memory_format"}
DTYPES = """
    bfloat16 bool cdouble cfloat complex128 complex32 complex64 double float float16 float32
    float64 half int int16 int32 int64 int8 long short uint16 uint32 uint64 uint8
"""
# Documented under another name than the one that everybody uses.
ELSEWHERE = {
    "torch.Size": "size.html#torch.Size",
    "torch.autocast": "amp.html#torch.autocast",
    "torch.inference_mode": "generated/torch.autograd.grad_mode.inference_mode.html",
    "torch.nn.Parameter": "generated/torch.nn.parameter.Parameter.html",
    "torch.set_grad_enabled": "generated/torch.autograd.grad_mode.set_grad_enabled.html",
}


def torch_url(name: str) -> str | None:
    """The address where PyTorch's documentation explains `name`, a dotted name from `torch` on."""
    path = _path(name)
    return f"{DOCS}/{path}" if path else None


def _path(name: str) -> str | None:
    module, _, last = name.rpartition(".")
    if last.startswith("_") or "._" in name or last in INNER.get(module, "").split():
        return None
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if name == "torch.Tensor":
        return "tensors.html#torch.Tensor"
    if name in PAGES:
        return f"{PAGES[name]}.html"
    if name in ATTRIBUTES:
        return f"tensor_attributes.html#{name}"
    if module == "torch" and last in DTYPES.split():
        return "tensor_attributes.html#torch.dtype"
    if module in ENTRIES:
        return f"{PAGES[module]}.html#{name}"
    if module in PAGES or module in LISTED:
        return f"generated/{name}.html"
    # A method is an entry on its class's page. In PyTorch a capital means a class.
    if module.rpartition(".")[2][:1].isupper() and (page := _path(module)):
        return f"{page.partition('#')[0]}#{name}"
    return None
