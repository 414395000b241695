"""From the files that people have to chains: one format per file."""

from typing import TYPE_CHECKING

from reasoning_anatomy.lazy import lazy_names

if TYPE_CHECKING:
    from reasoning_anatomy.conversion._convert import Conversion, convert_files, write_conversion
    from reasoning_anatomy.conversion._samples import Converter, Row, Sample

__all__ = ["Conversion", "Converter", "Row", "Sample", "convert_files", "write_conversion"]

__getattr__ = lazy_names(
    __name__,
    {"_convert": ["Conversion", "convert_files", "write_conversion"], "_samples": ["Converter", "Row", "Sample"]},
)
