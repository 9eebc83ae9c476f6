// SPDX-License-Identifier: Apache-2.0
//
// Where the tensors of a model file lie, learned from those of its bytes that are here already.
// What the formats are is said by, and for the reading is taken from:
//   safetensors  the format section of safetensors' README
//   GGUF         docs/gguf.md of ggml, versions 2 and 3, little-endian
//   PyTorch      torch.serialization: a ZIP archive (PKWARE's APPNOTE.TXT, with ZIP64) of stored
//                entries, one for each storage, named ARCHIVE/data/N
// Files are untrusted: none costs more than some tens of MiB of memory and about a second, and none
// makes a part outside of it. Pure: no network, no disk, no state. Threads: any, as far as `peek`
// allows. Errors: there are none; a file that cannot be understood has no parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "hffs/bytes.h"

namespace hffs::prefetch {

enum class Format : std::uint8_t { other, safetensors, gguf, torch_zip };

// By the suffix of the name: .safetensors; .gguf; .bin, .pt, .pth and .ckpt are PyTorch's, and may
// turn out to be no ZIP archive.
Format format_of(std::string_view path);

// The bytes of `range` if all of them are here already; nothing is fetched. Asked for some bytes,
// or for a window of up to two blocks that ends no later than the block of the bytes in need.
using Peek = std::function<std::optional<std::vector<std::byte>>(ByteRange range)>;

struct Extents {
  // One for each tensor (storage): in file order, disjoint, not empty, inside the file, not before
  // `head`. There may be gaps between them.
  std::vector<ByteRange> parts;
  std::uint64_t head = 0;  // bytes at the file's start that are no tensor
  bool operator==(const Extents&) const = default;
};

// Nothing: bytes that it takes are not here (yet); asked again it starts from the beginning. No
// `parts`: the file is not what its name says, or holds no tensor, or cannot be understood; asking
// again is of no use. It takes the header (safetensors, GGUF) or the end from the central directory
// on (PyTorch), and costs reading and parsing these: about 10 ms for ten thousand tensors.
std::optional<Extents> load_extents(Format format, std::uint64_t file_size,
                                    const Peek& peek) noexcept;

}  // namespace hffs::prefetch
