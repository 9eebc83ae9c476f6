// SPDX-License-Identifier: Apache-2.0
// Where tensors lie: files as their programs write them, each kind of damage, and chance.
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <random>
#include <string>

#include "extents.h"
#include "sizes.h"

namespace hffs::prefetch {
namespace {

// --- files -------------------------------------------------------------------------------------

using test::kGiB;
using test::kKiB;
using test::kMiB;

// Two pieces and zeros between them, so that tensors may be as large as real ones.
struct File {
  std::string head = {}, tail = {};
  std::uint64_t size = 0;
  std::vector<ByteRange> holes = {};  // not here
  std::uint64_t most_asked = 0, asked = 0;

  std::optional<std::vector<std::byte>> peek(ByteRange range) {
    EXPECT_FALSE(range.empty());
    EXPECT_LE(range.offset, size);
    EXPECT_LE(range.size, size - range.offset);
    most_asked = std::max(most_asked, range.size);
    asked += range.size;
    for (const auto& hole : holes)
      if (range.offset < hole.end() && hole.offset < range.end()) return std::nullopt;
    std::vector<std::byte> result(range.size);
    const auto place = [&](std::uint64_t at, const std::string& piece) {
      const std::uint64_t from = std::max(at, range.offset);
      const std::uint64_t to = std::min(at + piece.size(), range.end());
      if (from < to) std::memcpy(&result[from - range.offset], &piece[from - at], to - from);
    };
    place(0, head);
    place(size - std::min<std::uint64_t>(tail.size(), size), tail);
    return result;
  }
};

std::optional<Extents> load(Format format, File& file) {
  return load_extents(format, file.size, [&](ByteRange range) { return file.peek(range); });
}
std::optional<Extents> load(Format format, File&& file) {
  return load(format, file);
}
bool refused(Format format, File file) {
  const auto found = load(format, file);
  return found && *found == Extents{};
}
bool is_valid(const Extents& found, std::uint64_t size) {
  std::uint64_t end = found.head;
  for (const auto& part : found.parts) {
    if (part.empty() || part.offset < end || part.offset > size || part.size > size - part.offset)
      return false;
    end = part.end();
  }
  return found.head <= size && (!found.parts.empty() || found.head == 0);
}

template <typename T>
std::string le(T value) {
  std::string result(sizeof value, '\0');
  for (std::size_t i = 0; i < sizeof value; ++i)
    result[i] = static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i));
  return result;
}
std::string u16(std::uint64_t value) {
  return le(static_cast<std::uint16_t>(value));
}
std::string u32(std::uint64_t value) {
  return le(static_cast<std::uint32_t>(value));
}
std::string u64(std::uint64_t value) {
  return le(value);
}

File whole(std::string bytes) {
  const std::uint64_t size = bytes.size();
  return {.head = std::move(bytes), .size = size};
}
// A small file as one piece, for damage at any place.
File flat(File file) {
  const auto bytes = *file.peek({0, file.size});
  return whole({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// --- safetensors -------------------------------------------------------------------------------

File safetensors(const std::string& json, std::uint64_t data) {
  return {.head = u64(json.size()) + json, .size = 8 + json.size() + data};
}
std::string tensor(const std::string& name, std::uint64_t begin, std::uint64_t end) {
  return '"' + name + R"(":{"dtype":"U8","shape":[)" + std::to_string(end - begin) +
         R"(],"data_offsets":[)" + std::to_string(begin) + ',' + std::to_string(end) + "]}";
}
const std::string kTwo = "{" + tensor("b", 10, 30) + "," + tensor("a", 0, 10) + "}";

TEST(Safetensors, AsTheLibraryWritesThem) {
  const std::string json =
      R"({"__metadata__":{"format":"pt","x":"a\"]}{\\"},)" + tensor("model.embed", 0, 2 * kGiB) +
      "," + tensor("lm_head", 2 * kGiB + 100, 5 * kGiB) + "," +
      tensor("empty", 2 * kGiB, 2 * kGiB) + "," + tensor("bias", 2 * kGiB, 2 * kGiB + 100) + "}   ";
  const std::uint64_t head = 8 + json.size();
  const auto found = load(Format::safetensors, safetensors(json, 5 * kGiB));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->head, head);
  EXPECT_EQ(found->parts, (std::vector<ByteRange>{{head, 2 * kGiB},
                                                  {head + 2 * kGiB, 100},
                                                  {head + 2 * kGiB + 100, 3 * kGiB - 100}}));
}

TEST(Safetensors, OtherMembersAreLeftAlone) {
  const std::string json = R"({"__metadata__":[null,{"data_offsets":[7]},-1.5e3],)"
                           R"("t":{"more":{"data_offsets":7,"a":[1,2,3]},)"
                           R"("data_offsets":[0,4],"shape":[],"dtype":null}})";
  const auto found = load(Format::safetensors, safetensors(json, 9));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->parts, (std::vector<ByteRange>{{8 + json.size(), 4}}));
}

TEST(Safetensors, WhatIsMissingIsAskedAgain) {
  // A header of several blocks, of which any byte may be missing.
  std::string json = R"({"__metadata__":{)";
  for (int i = 0; i < 30; ++i)
    json += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":\"" + std::string(100'000, 'x') + '"';
  json += "}," + tensor("t", 0, 1000) + "}";
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{7}, std::uint64_t{8}, kMiB - 1,
                                 kMiB, 2 * kMiB + 5, 7 + json.size()}) {
    File file = safetensors(json, 1000);
    file.holes = {{at, 1}};
    EXPECT_FALSE(load(Format::safetensors, file)) << at;
    file.holes.clear();
    EXPECT_EQ(load(Format::safetensors, file)->parts.size(), 1u) << at;
    EXPECT_LE(file.most_asked, kMiB);
  }
  File file = safetensors(kTwo, 30);
  file.holes = {{8 + kTwo.size(), 30}};  // the data
  EXPECT_EQ(load(Format::safetensors, file)->parts.size(), 2u);
}

TEST(Safetensors, ALongHeaderWhoseEndIsMissingIsNotRead) {
  File file = safetensors("{" + std::string(50 * kMiB, ' ') + "}", 10);
  file.holes = {{9 + 50 * kMiB, 1}};
  EXPECT_FALSE(load(Format::safetensors, file));
  EXPECT_LE(file.asked, 100u);
}

TEST(Safetensors, Damage) {
  const auto with = [](const std::string& offsets) {
    return R"({"t":{"data_offsets":)" + offsets + "}}";
  };
  std::vector<std::pair<std::string, std::string>> cases{
      {"nothing", ""},
      {"no tensors", "{}"},
      {"only metadata", R"({"__metadata__":{"a":"b"}})"},
      {"only an empty tensor", with("[5,5]")},
      {"no object", "[1]"},
      {"a number", "12"},
      {"no JSON", "{\"t\""},
      {"more than an object", kTwo + "x"},
      {"two objects", kTwo + kTwo},
      {"no UTF-8", "{\"\xff\":{\"data_offsets\":[0,1]}}"},
      {"a tensor that is no object", R"({"t":[0,1]})"},
      {"a tensor that is null", R"({"t":null})"},
      {"a tensor without offsets", R"({"t":{"dtype":"U8"}})"},
      {"one tensor without offsets", "{" + tensor("a", 0, 1) + R"(,"t":{"dtype":"U8"}})"},
      {"offsets of another tensor", R"({"t":{"data_offsets":[0,1]},"u":{}})"},
      {"offsets twice", R"({"t":{"data_offsets":[0,1],"data_offsets":[1,2]}})"},
      {"no offsets", with("[]")},
      {"one offset", with("[1]")},
      {"three offsets", with("[0,1,2]")},
      {"nested offsets", with("[[0,1]]")},
      {"an object for offsets", with(R"({"0":1})")},
      {"a number for offsets", with("3")},
      {"a text in offsets", with(R"(["0","1"])")},
      {"negative", with("[-1,1]")},
      {"floating", with("[0.0,1.0]")},
      {"backwards", with("[2,1]")},
      {"beyond the end", with("[0,101]")},
      {"far beyond the end", with("[18446744073709551614,18446744073709551615]")},
      {"beyond 64 bits", with("[0,18446744073709551616]")},
      {"overlap", "{" + tensor("a", 0, 10) + "," + tensor("b", 9, 12) + "}"},
      {"the same twice", "{" + tensor("a", 0, 10) + "," + tensor("b", 0, 10) + "}"},
      {"deep", R"({"__metadata__":)" + std::string(5'000'000, '[')},
      {"deep objects",
       [] {
         std::string text = "{\"__metadata__\":";
         for (int i = 0; i < 1'000'000; ++i) text += "{\"\":";
         return text;
       }()},
  };
  for (const auto& [name, json] : cases)
    EXPECT_TRUE(refused(Format::safetensors, safetensors(json, 100))) << name;

  EXPECT_TRUE(load(Format::safetensors, safetensors(kTwo, 30)));
  EXPECT_TRUE(refused(Format::safetensors, safetensors(kTwo, 29))) << "truncated";
  for (std::size_t size = 0; size < 8 + kTwo.size(); ++size)
    EXPECT_TRUE(refused(Format::safetensors, whole(safetensors(kTwo, 30).head.substr(0, size))));
  for (const std::uint64_t length : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100'000'001},
                                     std::uint64_t{1} << 60, ~std::uint64_t{0}, ~std::uint64_t{7}})
    EXPECT_TRUE(refused(Format::safetensors, {.head = u64(length) + kTwo, .size = kGiB})) << length;
}

// --- GGUF --------------------------------------------------------------------------------------

std::string text(const std::string& value) {
  return u64(value.size()) + value;
}
std::string pair(const std::string& key, std::uint32_t type, const std::string& value) {
  return text(key) + u32(type) + value;
}
std::string gguf_tensor(const std::string& name, std::uint64_t offset,
                        std::uint32_t dimensions = 2) {
  std::string result = text(name) + u32(dimensions);
  for (std::uint32_t i = 0; i < dimensions; ++i) result += u64(7);
  return result + u32(12) + u64(offset);
}
std::string gguf_start(std::uint64_t tensors, std::uint64_t pairs, std::uint32_t version = 3) {
  return "GGUF" + u32(version) + u64(tensors) + u64(pairs);
}
std::string array(std::uint32_t type, std::uint64_t count, const std::string& values) {
  return u32(type) + u64(count) + values;
}
std::string padded(std::string bytes, std::size_t alignment) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
  return bytes;
}
// All value types, and two tensors of 64 bytes behind `head`.
File small_gguf() {
  const std::string head = padded(
      gguf_start(2, 16) + pair("general.architecture", 8, text("llama")) + pair("a", 0, "x") +
          pair("b", 1, "x") + pair("c", 2, u16(1)) + pair("d", 3, u16(1)) + pair("e", 4, u32(1)) +
          pair("f", 5, u32(1)) + pair("g", 6, u32(1)) + pair("h", 7, "\1") + pair("i", 10, u64(1)) +
          pair("j", 11, u64(1)) + pair("k", 12, u64(1)) +
          pair("strings", 9, array(8, 3, text("<s>") + text("") + text("</s>"))) +
          pair("floats", 9, array(6, 3, std::string(12, 'f'))) +
          pair("nested", 9,
               array(9, 3,
                     array(4, 1, u32(9)) + array(9, 0, "") + array(9, 1, array(8, 1, text("x"))))) +
          pair("general.alignmenT", 4, u32(4096)) + gguf_tensor("token_embd.weight", 0) +
          gguf_tensor("output.weight", 64, 4),
      32);
  return {.head = head, .size = head.size() + 128};
}

TEST(Gguf, AllTypesOfValues) {
  for (const char version : {2, 3}) {
    File file = small_gguf();
    file.head[4] = version;
    const auto found = load(Format::gguf, file);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->head, file.head.size());
    EXPECT_EQ(found->parts, (std::vector<ByteRange>{{found->head, 64}, {found->head + 64, 64}}));
  }
}

TEST(Gguf, AlignmentAndOrder) {
  const std::string head = padded(gguf_start(4, 1) + pair("general.alignment", 4, u32(4096)) +
                                      gguf_tensor("c", 3 * kGiB) + gguf_tensor("a", 0) +
                                      gguf_tensor("b", 8192) + gguf_tensor("empty", 8192, 0),
                                  4096);
  const auto found = load(Format::gguf, File{.head = head, .size = 4096 + 4 * kGiB});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->head, 4096u);
  EXPECT_EQ(found->parts,
            (std::vector<ByteRange>{
                {4096, 8192}, {4096 + 8192, 3 * kGiB - 8192}, {4096 + 3 * kGiB, kGiB}}));
}

TEST(Gguf, HeadersOfManyMiB) {
  std::string tokens;
  for (int i = 0; i < 400'000; ++i) tokens += text("token " + std::to_string(i));
  const std::string head = padded(
      gguf_start(1, 2) + pair("tokens", 9, array(8, 400'000, tokens)) +
          pair("scores", 9, array(6, 3 * kMiB, std::string(12 * kMiB, 1))) + gguf_tensor("t", 0),
      32);
  for (std::uint64_t here = 0; here < head.size() - 64; here += 3 * kMiB) {
    File file{.head = head, .size = head.size() + kGiB, .holes = {{here, kGiB}}};
    EXPECT_FALSE(load(Format::gguf, file)) << here;
  }
  // What stands in one block with the header's end may be missing or not; the data is not asked
  // for.
  const std::uint64_t blocks = (head.size() + kMiB - 1) / kMiB * kMiB;
  File file{.head = head, .size = head.size() + kGiB, .holes = {{blocks, kGiB}}};
  EXPECT_EQ(load(Format::gguf, file)->parts, (std::vector<ByteRange>{{head.size(), kGiB}}));
  EXPECT_LE(file.most_asked, 2 * kMiB);
  EXPECT_LE(file.asked, blocks);

  File large{.head = gguf_start(1, 1) + pair("x", 9, array(0, 64 * kMiB, "")), .size = kGiB};
  EXPECT_TRUE(refused(Format::gguf, large)) << "more than we read";
}

TEST(Gguf, Damage) {
  const std::uint64_t many = std::uint64_t{1} << 60;
  const std::string one = gguf_tensor("t", 0);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += array(9, 1, "");
  const std::vector<std::pair<std::string, std::string>> cases{
      {"another magic", "GGML" + gguf_start(1, 0).substr(4) + one},
      {"version 1", gguf_start(1, 0, 1) + one},
      {"version 4", gguf_start(1, 0, 4) + one},
      {"big-endian", gguf_start(1, 0, 0x0300'0000) + one},
      {"no tensors", gguf_start(0, 0)},
      {"many tensors", gguf_start(many, 0) + one},
      {"a million and one tensors", gguf_start(1'000'001, 0) + one},
      {"many pairs", gguf_start(1, many) + one},
      {"a long key", gguf_start(1, 1) + u64(many) + one},
      {"the longest key", gguf_start(1, 1) + u64(~std::uint64_t{0}) + one},
      {"an unknown type", gguf_start(1, 1) + pair("x", 13, u64(0)) + one},
      {"a long text", gguf_start(1, 1) + pair("x", 8, u64(many)) + one},
      {"a long array", gguf_start(1, 1) + pair("x", 9, array(0, many, "")) + one},
      {"an array that overflows", gguf_start(1, 1) + pair("x", 9, array(12, many << 1, "")) + one},
      {"a long array of texts", gguf_start(1, 1) + pair("x", 9, array(8, many, "")) + one},
      {"a long array of arrays", gguf_start(1, 1) + pair("x", 9, array(9, many, "")) + one},
      {"an array of unknown type", gguf_start(1, 1) + pair("x", 9, array(13, 1, u64(0))) + one},
      {"deep arrays", gguf_start(1, 1) + pair("x", 9, deep) + one},
      {"alignment 0", gguf_start(1, 1) + pair("general.alignment", 4, u32(0)) + one},
      {"alignment beyond the end", gguf_start(1, 1) + pair("general.alignment", 4, u32(~0u)) + one},
      {"many dimensions", gguf_start(1, 0) + gguf_tensor("t", 0, 17)},
      {"most dimensions", gguf_start(1, 0) + text("t") + u32(~0u) + u64(0)},
      {"offset beyond the end", gguf_start(1, 0) + gguf_tensor("t", 100'001)},
      {"offset far beyond the end", gguf_start(1, 0) + gguf_tensor("t", ~std::uint64_t{0})},
      {"a tensor behind the last byte", gguf_start(1, 0) + gguf_tensor("t", 100'000)},
  };
  for (const auto& [name, head] : cases) {
    const std::string bytes = padded(head, 32);
    EXPECT_TRUE(refused(Format::gguf, {.head = bytes, .size = bytes.size() + 100'000})) << name;
  }
  const std::string bytes = small_gguf().head;
  for (std::size_t size = 0; size <= bytes.size(); ++size)
    EXPECT_TRUE(refused(Format::gguf, whole(bytes.substr(0, size)))) << size;
}

// --- PyTorch -----------------------------------------------------------------------------------

struct Entry {
  std::string name;
  std::uint64_t size;
};
struct Torch {
  File file = {};
  std::vector<std::uint64_t> offsets = {};  // of the entries' local headers, and of the directory
  std::string directory = {};
};

// As PyTorch writes it: data aligned to 64 bytes, ZIP64's records always, offsets in extra fields
// where they need it. Without `zip64` as other programs do.
Torch torch_zip(const std::vector<Entry>& entries, bool zip64 = true,
                const std::string& comment = {}) {
  Torch result;
  std::uint64_t at = 0;
  for (const auto& [name, size] : entries) {
    result.offsets.push_back(at);
    const bool wide = size >= 0xffff'ffff, far = at >= 0xffff'ffff;
    const std::string extra64 = (wide ? u64(size) + u64(size) : "") + (far ? u64(at) : "");
    const std::string extra = (far ? u16(0x4246) + u16(3) + "ZZZ" : "") +
                              (extra64.empty() ? "" : u16(1) + u16(extra64.size()) + extra64);
    const std::string sizes = wide ? u32(~0u) + u32(~0u) : u32(size) + u32(size);
    if (at == 0)
      result.file.head = "PK\3\4" + std::string(14, 0) + sizes + u16(name.size()) + u16(0) + name;
    result.directory += "PK\1\2" + std::string(16, 0) + sizes + u16(name.size()) +
                        u16(extra.size()) + u16(0) + std::string(8, 0) +
                        (far ? u32(~0u) : u32(at)) + name + extra;
    at = (at + 30 + name.size() + 4 + 63) / 64 * 64 + size;
  }
  result.offsets.push_back(at);
  const std::string& directory = result.directory;
  const std::uint64_t count = entries.size();
  std::string end;
  if (zip64)
    end = "PK\6\6" + u64(44) + u16(0x31e) + u16(45) + u32(0) + u32(0) + u64(count) + u64(count) +
          u64(directory.size()) + u64(at) + "PK\6\7" + u32(0) + u64(at + directory.size()) + u32(1);
  end += "PK\5\6" + u32(0) + u16(std::min<std::uint64_t>(count, 0xffff)) +
         u16(std::min<std::uint64_t>(count, 0xffff)) + u32(directory.size()) +
         u32(std::min<std::uint64_t>(at, 0xffff'ffff)) + u16(comment.size()) + comment;
  result.file.tail = directory + end;
  result.file.size = at + result.file.tail.size();
  return result;
}
std::vector<Entry> checkpoint(std::uint64_t storage) {
  return {{"archive/data.pkl", 700},
          {"archive/byteorder", 6},
          {"archive/data/0", storage},
          {"archive/data/1", 0},
          {"archive/data/10", 33},
          {"archive/version", 2},
          {"archive/.data/serialization_id", 40}};
}
Torch small_torch() {
  return torch_zip(checkpoint(100));
}

TEST(TorchZip, AsPyTorchWritesThem) {
  for (const std::uint64_t storage : {std::uint64_t{100}, 3 * kGiB, 9 * kGiB}) {
    auto [file, at, _] = torch_zip(checkpoint(storage));
    const auto found = load(Format::torch_zip, file);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->head, at[2]);
    EXPECT_EQ(found->parts,
              (std::vector<ByteRange>{
                  {at[2], at[3] - at[2]}, {at[3], at[4] - at[3]}, {at[4], at[5] - at[4]}}));
    EXPECT_LE(file.most_asked, kKiB);
  }
}

TEST(TorchZip, WithoutZip64AndWithAComment) {
  for (const std::string& comment :
       {std::string(), std::string("PK\5\6"), std::string(65535, 'c')}) {
    auto [file, at, _] = torch_zip({{"m/data.pkl", 10}, {"m/data/5", 77}}, false, comment);
    const auto found = load(Format::torch_zip, file);
    ASSERT_TRUE(found) << comment.size();
    EXPECT_EQ(found->parts, (std::vector<ByteRange>{{at[1], at[2] - at[1]}})) << comment.size();
  }
}

TEST(TorchZip, WhichEntriesAreStorages) {
  const std::vector<std::string> others{"data/0", "a/data/",   "a/data/x1",     "a/data/1x",
                                        "0",      "a/.data/0", "a/constants/0", "a/data",
                                        "",       "a/b.data/0"};
  for (const std::string& name : others)
    EXPECT_TRUE(refused(Format::torch_zip, torch_zip({{name, 10}}).file)) << name;
  for (const char* name : {"a/data/0", "a/b/data/123456", "/data/7"})
    EXPECT_FALSE(refused(Format::torch_zip, torch_zip({{name, 10}}).file)) << name;
}

TEST(TorchZip, WhatIsMissingIsAskedAgain) {
  auto [file, at, directory] = torch_zip(checkpoint(kGiB));
  file.holes = {{0, at.back()}};
  EXPECT_TRUE(load(Format::torch_zip, file)) << "the head is not needed";
  for (std::uint64_t byte = at.back(); byte < file.size; ++byte) {
    file.holes = {{byte, 1}};
    EXPECT_FALSE(load(Format::torch_zip, file)) << byte - at.back();
  }
  file.holes = {{file.size - 22, 22}};
  EXPECT_FALSE(load(Format::torch_zip, file));
  file.head = "\x80\2\x8a\n";  // a plain pickle
  EXPECT_TRUE(refused(Format::torch_zip, file)) << "four bytes suffice";
}

TEST(TorchZip, Damage) {
  EXPECT_TRUE(refused(Format::torch_zip, whole("")));
  EXPECT_TRUE(refused(Format::torch_zip, whole("PK\3\4")));
  EXPECT_TRUE(refused(Format::torch_zip, whole(std::string(200'000, 'P'))));
  EXPECT_TRUE(refused(Format::torch_zip, whole("PK\3\4" + std::string(200'000, '\0'))));
  EXPECT_TRUE(refused(Format::torch_zip, whole("PK\5\6" + std::string(18, '\0')))) << "empty";
  EXPECT_TRUE(refused(Format::torch_zip, torch_zip({}).file));
  EXPECT_TRUE(refused(Format::torch_zip, torch_zip({{"a/data.pkl", 10}}).file)) << "no storages";

  const std::string bytes = flat(small_torch().file).head;
  const std::size_t size = bytes.size();
  for (std::size_t each = 0; each < size; ++each)
    EXPECT_TRUE(refused(Format::torch_zip, whole(bytes.substr(0, each)))) << each;

  const std::size_t end64 = size - 22 - 20 - 56,
                    directory = size - 98 - small_torch().directory.size();
  const std::size_t storage = bytes.find("archive/data/0", directory) - 46;
  const std::uint64_t many = std::uint64_t{1} << 60, most = ~std::uint64_t{0};
  const std::vector<std::tuple<std::string, std::size_t, std::string>> cases{
      {"locator far", size - 42 + 8, u64(many)},
      {"locator at itself", size - 42 + 8, u64(size - 42)},
      {"locator farthest", size - 42 + 8, u64(most)},
      {"no record there", end64, "PK\6\5"},
      {"large directory", end64 + 40, u64(many)},
      {"largest directory", end64 + 40, u64(most)},
      {"directory beyond its record", end64 + 40, u64(small_torch().directory.size() + 1)},
      {"cut directory", end64 + 40, u64(small_torch().directory.size() - 1)},
      {"directory elsewhere", end64 + 48, u64(directory - 1)},
      {"directory far away", end64 + 48, u64(many)},
      {"directory farthest away", end64 + 48, u64(most)},
      {"no entry", directory, "PK\1\3"},
      {"a name beyond the directory", storage + 28, u16(65535)},
      {"an extra field beyond the directory", storage + 30, u16(65535)},
      {"a comment beyond the directory", storage + 32, u16(65535)},
      {"an entry behind the directory", storage + 42, u32(directory)},
      {"an entry far behind", storage + 42, u32(0x7fff'ffff)},
      {"a far entry without an extra field", storage + 42, u32(~0u)},
  };
  for (const auto& [name, at, change] : cases) {
    std::string changed = bytes;
    changed.replace(at, change.size(), change);
    EXPECT_TRUE(refused(Format::torch_zip, whole(changed))) << name;
  }
}

TEST(TorchZip, ADirectoryThatIsTooLarge) {
  Torch torch = torch_zip({{"a/data/0", 10}}, false);
  File& file = torch.file;
  file.size = 40 * kMiB;
  file.tail = "PK\5\6" + std::string(8, 0) + u32(20 * kMiB) + u32(kMiB) + u16(0);
  EXPECT_TRUE(refused(Format::torch_zip, file));
  EXPECT_LE(file.most_asked, kKiB);
}

TEST(TorchZip, ExtraFieldsOfFarEntries) {
  const auto with = [](const std::string& extra) {
    Torch torch = torch_zip({{"a/data.pkl", 5 * kGiB}, {"a/data/0", 10}}, true);
    std::string& tail = torch.file.tail;
    const std::size_t at = tail.rfind("a/data/0") + 8;
    const std::size_t old = torch.directory.size() - at;
    EXPECT_EQ(extra.size(), old);
    tail.replace(at, old, extra);
    return torch.file;
  };
  EXPECT_FALSE(
      refused(Format::torch_zip, with(u16(9) + u16(3) + "abc" + u16(1) + u16(8) + u64(4 * kGiB))));
  EXPECT_FALSE(refused(Format::torch_zip, with(u16(1) + u16(15) + u64(4 * kGiB) + "abcdefg")));
  EXPECT_TRUE(refused(Format::torch_zip, with(u16(1) + u16(7) + u64(4 * kGiB) + "abcdefg")));
  EXPECT_TRUE(refused(Format::torch_zip, with(u16(1) + u16(16) + u64(4 * kGiB) + "abcdefg")));
  EXPECT_TRUE(refused(Format::torch_zip, with(u16(9) + u16(15) + u64(4 * kGiB) + "abcdefg")));
  EXPECT_TRUE(refused(Format::torch_zip, with(u16(9) + u16(13) + u64(4 * kGiB) + "abcdefg")));
}

// --- all ---------------------------------------------------------------------------------------

TEST(Formats, BySuffix) {
  for (const auto& [path, format] : std::vector<std::pair<std::string, Format>>{
           {"model-00001-of-00002.safetensors", Format::safetensors},
           {"a/b.GGUF", Format::gguf},
           {"pytorch_model.bin", Format::torch_zip},
           {"x.pt", Format::torch_zip},
           {"x.pth", Format::torch_zip},
           {"x.ckpt", Format::torch_zip},
           {"model.safetensors.index.json", Format::other},
           {"safetensors", Format::other},
           {"x.pt/y", Format::other},
           {"", Format::other}})
    EXPECT_EQ(format_of(path), format) << path;
}

TEST(Formats, WhatIsNoModelIsNotPeekedAt) {
  const Peek peek = [](ByteRange) -> std::optional<std::vector<std::byte>> {
    ADD_FAILURE();
    return std::nullopt;
  };
  EXPECT_EQ(load_extents(Format::other, 100, peek), Extents{});
  for (const Format format : {Format::safetensors, Format::gguf, Format::torch_zip}) {
    EXPECT_EQ(load_extents(format, 0, peek), Extents{});
    EXPECT_EQ(load_extents(format, ~std::uint64_t{0}, peek), Extents{});
  }
}

TEST(Formats, APeekThatFails) {
  for (const Format format : {Format::safetensors, Format::gguf, Format::torch_zip}) {
    EXPECT_EQ(load_extents(format, 100,
                           [](ByteRange) -> std::optional<std::vector<std::byte>> {
                             throw std::bad_alloc();
                           }),
              Extents{});
    const auto found =
        load_extents(format, 100, [](ByteRange) { return std::vector<std::byte>(1); });
    EXPECT_TRUE(!found || found->parts.empty()) << "a peek that answers something else";
  }
}

// Of processor time, so that a busy machine does not matter: far from what it takes, and far below what anything
// quadratic would.
constexpr double kQuick = 10;
// A sanitizer takes ten times as long: it gets that much less.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int kLess = 10;
#else
constexpr int kLess = 1;
#endif

double seconds_for(const std::function<void()>& work) {
  const std::clock_t begin = std::clock();
  work();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

TEST(Formats, ManyTensorsTakeLessThanASecond) {
  constexpr std::uint64_t kMany = 120'000 / kLess;
  const auto check = [&](Format format, File file) {
    std::optional<Extents> found;
    const double seconds = seconds_for([&] { found = load(format, file); });
    ASSERT_TRUE(found);
    EXPECT_EQ(found->parts.size(), kMany);
    EXPECT_TRUE(is_valid(*found, file.size));
    EXPECT_LT(seconds, kQuick);
    EXPECT_LE(file.most_asked, 2 * kMiB);
    testing::Test::RecordProperty("seconds_" + std::to_string(static_cast<int>(format)),
                                  std::to_string(seconds));
  };
  std::string json = "{", records;
  std::vector<Entry> entries{{"archive/data.pkl", 1000}};
  for (std::uint64_t i = 0; i < kMany; ++i) {
    const std::string name = "model.layers." + std::to_string(i) + ".mlp.experts.weight";
    json += (i == 0 ? "" : ",") + tensor(name, i * 4096, (i + 1) * 4096);
    records += gguf_tensor(name, i * 4096);
    entries.push_back({"archive/data/" + std::to_string(i), 4096});
  }
  check(Format::safetensors, safetensors(json + "}", kMany * 4096));
  const std::string head = padded(gguf_start(kMany, 0) + records, 32);
  check(Format::gguf, {.head = head, .size = head.size() + kMany * 4096});
  check(Format::torch_zip, torch_zip(entries).file);
}

TEST(Formats, HostileOnesAreQuick) {
  std::string many;
  for (int i = 0; i < 7'000'000 / kLess; ++i) many += "\"\",";
  const std::vector<std::pair<Format, File>> files{
      {Format::safetensors, safetensors("{" + std::string(20'000'000 / kLess, ' ') + "}", 10)},
      {Format::safetensors, safetensors("{\"" + std::string(20'000'000 / kLess, 'x') + "\":1}", 10)},
      {Format::safetensors, safetensors("{\"" + std::string(20'000'000 / kLess, '\\') + "\":1}", 10)},
      {Format::safetensors,
       safetensors("{\"__metadata__\":" + std::string(20'000'000 / kLess, '1') + "}", 10)},
      {Format::safetensors, safetensors("{\"__metadata__\":[" + many + "\"\"]}", 10)},
      {Format::gguf,
       {.head = gguf_start(1, 1) + pair("x", 9, array(8, 7 * kMiB / kLess, "")), .size = kGiB}},
      {Format::gguf, {.head = gguf_start(1, ~std::uint64_t{0}), .size = kGiB}},
      {Format::gguf, {.head = gguf_start(1'000'000 / kLess, 0), .size = kGiB}},
  };
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto [format, file] = files[i];
    std::optional<Extents> found;
    EXPECT_LT(seconds_for([&] { found = load(format, file); }), kQuick) << i;
    ASSERT_TRUE(found) << i;
    EXPECT_TRUE(is_valid(*found, file.size)) << i;
    EXPECT_LE(found->parts.size(), 1u) << i;
    EXPECT_LE(file.most_asked, 2 * kMiB) << i;
  }
}

// Whatever is changed in a file, and whatever of it is missing: parts stay in order and inside.
TEST(Formats, MutationsNeverBreakTheOrder) {
  const std::vector<std::pair<Format, std::string>> seeds{
      {Format::safetensors, flat(safetensors(kTwo, 30)).head},
      {Format::gguf, flat(small_gguf()).head},
      {Format::torch_zip, flat(small_torch().file).head},
      {Format::torch_zip, flat(torch_zip(checkpoint(50), false, "comment").file).head},
  };
  std::mt19937 random(20240517);
  const auto below = [&](std::size_t bound) { return random() % bound; };
  const std::vector<std::string> values{u32(0),
                                        u32(1),
                                        u32(0x7fff'ffff),
                                        u32(~0u),
                                        u16(1),
                                        u64(~0ull),
                                        u64(1ull << 60),
                                        "9",
                                        "PK\5\6",
                                        "PK\6\7",
                                        "PK\1\2",
                                        "]",
                                        "{",
                                        "\"",
                                        "-",
                                        "999999999999999999"};
  int understood = 0, missing = 0;
  for (int round = 0; round < 20'000 / kLess; ++round) {
    const auto& [format, seed] = seeds[below(seeds.size())];
    std::string bytes = seed;
    // Half of the changes hit the structures at the end or at the start rather than the data.
    const auto place = [&] {
      const std::size_t near = std::min<std::size_t>(bytes.size(), 256);
      const std::size_t kind = below(4);
      if (kind == 0) return below(near);
      return kind == 1 ? bytes.size() - 1 - below(near) : below(bytes.size());
    };
    for (std::size_t changes = 1 + below(3); changes-- > 0 && !bytes.empty();) {
      const std::size_t at = place();
      const std::string& value = values[below(values.size())];
      switch (below(7)) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
          break;
        case 2:
          bytes.replace(at, value.size(), value);
          break;
        case 3:
          bytes.insert(at, value);
          break;
        case 4:
          bytes.erase(at, 1 + below(40));
          break;
        case 5:
          bytes.insert(below(bytes.size()), bytes.substr(at, below(100)));
          break;
        default:
          bytes[at] = static_cast<char>(bytes[at] + (below(2) == 0 ? 1 : -1));
      }
    }
    if (below(8) == 0) bytes.resize(below(bytes.size() + 1));
    File file = whole(bytes);
    if (below(4) == 0) file.size += below(3) == 0 ? 5 * kGiB : below(1000);
    if (below(8) == 0) file.holes = {{below(bytes.size() + 1), below(200)}};
    const auto found = load(format, file);
    if (!found) {
      ++missing;
      EXPECT_FALSE(file.holes.empty()) << round;
      continue;
    }
    ASSERT_TRUE(is_valid(*found, file.size)) << round;
    understood += !found->parts.empty();
  }
  // Else the changes were too rough to get past the first check, or too tame.
  EXPECT_GT(understood, 2'000 / kLess);
  EXPECT_LT(understood, 18'000 / kLess);
  EXPECT_GT(missing, 100 / kLess);
}

}  // namespace
}  // namespace hffs::prefetch
