// SPDX-License-Identifier: Apache-2.0
//
// safetensors: eight bytes say how long the header is; the header is a JSON object of
//   "NAME": {"dtype": "F16", "shape": [2, 3], "data_offsets": [BEGIN, END]}
// with offsets that count from the header's end, and perhaps of "__metadata__".
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "header_reader.h"

namespace hffs::prefetch {
namespace {

using nlohmann::json;

// The format's own bound.
constexpr std::uint64_t kLongestHeader = 100'000'000;
// Bytes without a quotation mark: the parser holds a text, and the blanks before it, in memory.
constexpr std::uint64_t kMostText = std::uint64_t{4} << 20;
constexpr int kMostDepth = 8;

// The header's bytes for the parser, as they come.
class Characters {
 public:
  explicit Characters(HeaderReader& in) : in_(in) { advance(); }

  bool at_end() const { return at_end_; }
  char current() const { return current_; }
  void advance() {
    at_end_ = in_.left() == 0;
    if (at_end_) return;
    const auto text = in_.text(1);
    at_end_ = text.empty();
    if (at_end_) return;
    current_ = text.front();
    const bool quotes = current_ == '"' && !escaped_;
    escaped_ = current_ == '\\' && !escaped_;
    run_ = quotes ? 0 : run_ + 1;
    if (run_ > kMostText) {
      in_.refuse();
      at_end_ = true;
    }
  }

 private:
  HeaderReader& in_;
  char current_ = 0;
  bool at_end_ = false;
  bool escaped_ = false;
  std::uint64_t run_ = 0;
};

struct Cursor {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = char;

  Characters* from = nullptr;  // null: the end

  char operator*() const { return from->current(); }
  Cursor& operator++() {
    from->advance();
    return *this;
  }
  bool at_end() const { return from == nullptr || from->at_end(); }
  bool operator==(const Cursor& other) const { return at_end() == other.at_end(); }
};

// Takes data_offsets out of the parser's events; answers false, which ends the parsing, to what
// cannot be a header. The depth is the number of open brackets: 1 in the header, 2 in a tensor, 3
// in its offsets.
class Table final : public nlohmann::json_sax<json> {
 public:
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;

  bool null() override { return may_stand_here(); }
  bool boolean(bool) override { return may_stand_here(); }
  bool number_integer(number_integer_t) override { return may_stand_here(); }
  bool number_float(number_float_t, const string_t&) override { return may_stand_here(); }
  bool string(string_t&) override { return may_stand_here(); }
  bool binary(binary_t&) override { return false; }
  bool number_unsigned(number_unsigned_t value) override {
    if (!in_offsets_) return may_stand_here();
    if (count_ == 2) return false;
    offsets_[count_++] = value;
    return true;
  }

  bool key(string_t& name) override {
    if (depth_ == 1) {
      in_metadata_ = name == "__metadata__";
      wants_offsets_ = false;
      count_ = 0;
    } else if (depth_ == 2 && !in_metadata_) {
      wants_offsets_ = name == "data_offsets";
    }
    return true;
  }
  bool start_object(std::size_t) override {
    const bool tensor = depth_ == 1 && !in_metadata_;
    if (depth_ > 0 && !tensor && !may_stand_here()) return false;
    return ++depth_ <= kMostDepth;
  }
  bool end_object() override {
    --depth_;
    if (depth_ != 1 || in_metadata_) return true;
    if (count_ != 2 || spans.size() == kMostTensors) return false;
    spans.emplace_back(offsets_[0], offsets_[1]);
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 2 && wants_offsets_) {
      if (in_offsets_ || count_ != 0) return false;
      in_offsets_ = true;
    } else if (!may_stand_here()) {
      return false;
    }
    return ++depth_ <= kMostDepth;
  }
  bool end_array() override {
    --depth_;
    return !std::exchange(in_offsets_, false) || count_ == 2;
  }

  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  // Of values that say nothing about offsets.
  bool may_stand_here() const {
    if (in_metadata_) return true;
    return depth_ > 1 && !in_offsets_ && !(depth_ == 2 && wants_offsets_);
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  bool wants_offsets_ = false;
  bool in_offsets_ = false;
  std::size_t count_ = 0;
  std::uint64_t offsets_[2]{};
};

}  // namespace

Found read_safetensors(std::uint64_t file_size, const Peek& peek) {
  HeaderReader first(peek, {0, std::min<std::uint64_t>(file_size, 8)});
  const auto length = first.number<std::uint64_t>();
  if (!first.ok()) return first.stop();
  if (length < 2 || length > kLongestHeader || length > file_size - 8)
    return std::unexpected(Stop::nonsense);
  const std::uint64_t head = 8 + length;
  // Before a long header is parsed in vain.
  if (!peek({head - 1, 1})) return std::unexpected(Stop::missing);

  HeaderReader in(peek, {8, length});
  Characters characters(in);
  Table table;
  const bool parsed = json::sax_parse(Cursor{&characters}, Cursor{}, &table);
  if (!in.ok()) return in.stop();
  if (!parsed) return std::unexpected(Stop::nonsense);

  std::vector<ByteRange> parts;
  parts.reserve(table.spans.size());
  for (const auto& [begin, end] : table.spans) {
    if (begin > end || end > file_size - head) return std::unexpected(Stop::nonsense);
    parts.push_back({head + begin, end - begin});
  }
  return settle(std::move(parts), head, file_size);
}

}  // namespace hffs::prefetch
