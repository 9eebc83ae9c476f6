// SPDX-License-Identifier: Apache-2.0
//
// What the fuzz targets share: an input taken apart from its front, and a promise that ends the process where it is
// broken, so that libFuzzer keeps the input. Threads: one.
#pragma once

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

// NOLINTNEXTLINE: the expression itself is what has to be said.
#define MUST(promise) \
  ((promise) ? (void)0 : ::hffs::fuzz::broken(#promise, __FILE__, __LINE__))

namespace hffs::fuzz {

[[noreturn]] inline void broken(const char* promise, const char* file, int line) {
  fmt::print(stderr, "{}:{}: a promise is broken: {}\n", file, line, promise);
  std::abort();
}

// Hostile input is worth a line of the log each time; here it would be all that is done.
inline void be_quiet() { spdlog::set_level(spdlog::level::off); }

// Where there is no more, zeros and empty texts come.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  std::string_view rest() { return take(rest_.size()); }
  std::string_view take(std::size_t size) {
    const auto taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }
  // Up to the next one of these, which is left out.
  std::string_view until(char end) {
    const auto taken = take(std::min(rest_.find(end), rest_.size()));
    take(1);
    return taken;
  }
  std::string_view line() { return until('\n'); }
  template <class T>
  T number() {
    T value{};
    const auto bytes = take(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  std::uint8_t byte() { return number<std::uint8_t>(); }

 private:
  std::string_view rest_;
};

// A path that stays where it is put: what ids.h promises of all that it accepts.
inline bool is_safe_path(std::string_view path, std::size_t most = 4'000) {
  if (path.empty() || path.size() > most || path.front() == '/' || path.back() == '/') return false;
  while (true) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const auto part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (std::ranges::any_of(part, [](unsigned char c) { return c < 0x20 || c == 0x7f; })) return false;
    if (slash == path.size()) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace hffs::fuzz

#define FUZZ_TARGET(input)                                        \
  static void fuzz_one(hffs::fuzz::Input input);                  \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    fuzz_one({data, size});                                       \
    return 0;                                                     \
  }                                                               \
  static void fuzz_one(hffs::fuzz::Input input)
#define FUZZ_QUIET()                                                              \
  extern "C" int LLVMFuzzerInitialize(int*, char***) {                           \
    hffs::fuzz::be_quiet();                                                      \
    return 0;                                                                    \
  }
