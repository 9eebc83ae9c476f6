// SPDX-License-Identifier: Apache-2.0
//
// A reader that judges each byte it gets. Files are those of pattern.h.
//
//   reader write SEED SIZE                        the bytes, on standard output
//   reader once HOW PATH SEED SIZE [FIRST COUNT]  one pass: sequential, random, mmap or resident
//   reader loop HOW TURNS LIST [PAUSE_MS]         passes over files until standard input ends
//   reader random TURNS LIST OPS SECONDS THREADS  fsx's manner: every way of reading, in any order
//
// LIST names a file with lines "PATH SEED SIZE". The answer is one line of JSON. What a page fault
// meets (SIGBUS) counts as EIO with "sigbus".
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "pattern.h"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPiece = 128 << 10, kPage = 4096, kMost = 3 << 20;

struct File {
  std::string path;
  Pattern pattern;
};

double seconds_since(Clock::time_point began) {
  return std::chrono::duration<double>(Clock::now() - began).count();
}

// What came of it all; many threads write to it.
class Verdict {
 public:
  void trouble(const char* kind, const std::string& what, const File& file, std::int64_t at, int code) {
    const std::lock_guard lock(mutex_);
    ++count_[kind];
    if (said_.size() < 20)
      said_.push_back("{\"kind\": \"" + std::string(kind) + "\", \"what\": \"" + what + "\", \"path\": \"" + file.path +
                      "\", \"at\": " + std::to_string(at) + ", \"errno\": " + std::to_string(code) +
                      ", \"after\": " + std::to_string(seconds_since(began_)) + "}");
    if (first_errno_ == 0) first_errno_ = code;
  }
  void took(const std::string& what, double seconds, std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    auto& [times, slowest] = by_op_[what];
    ++times;
    slowest = std::max(slowest, seconds);
    bytes_ += bytes;
    if (seconds > slowest_) slowest_ = seconds, slowest_at_ = seconds_since(began_);
  }
  std::uint64_t ops() {
    const std::lock_guard lock(mutex_);
    std::uint64_t all = 0;
    for (const auto& [name, each] : by_op_) all += each.first;
    return all;
  }
  void say() {
    const std::uint64_t all = ops();
    std::printf("{\"ops\": %llu, \"bytes\": %llu, \"errors\": %llu, \"wrong\": %llu, \"short\": %llu, \"sigbus\": %llu, "
                "\"errno\": %d, \"seconds\": %.3f, \"slowest\": %.4f, \"slowest_at\": %.3f, \"passes\": %llu, \"by_op\": {",
                static_cast<unsigned long long>(all), static_cast<unsigned long long>(bytes_), count_["error"],
                count_["wrong"], count_["short"], count_["sigbus"], first_errno_, seconds_since(began_), slowest_,
                slowest_at_, static_cast<unsigned long long>(passes.load()));
    const char* comma = "";
    for (const auto& [name, each] : by_op_) {
      std::printf("%s\"%s\": {\"times\": %llu, \"slowest\": %.4f}", comma, name.c_str(),
                  static_cast<unsigned long long>(each.first), each.second);
      comma = ", ";
    }
    std::printf("}, \"troubles\": [");
    for (std::size_t i = 0; i < said_.size(); ++i) std::printf("%s%s", i ? ", " : "", said_[i].c_str());
    std::printf("]}\n");
    std::fflush(stdout);
  }
  std::atomic<std::uint64_t> passes{0};

 private:
  std::mutex mutex_;
  std::map<std::string, unsigned long long> count_;
  std::map<std::string, std::pair<std::uint64_t, double>> by_op_;
  std::vector<std::string> said_;
  std::uint64_t bytes_ = 0;
  double slowest_ = 0, slowest_at_ = 0;
  int first_errno_ = 0;
  const Clock::time_point began_ = Clock::now();
} verdict;

thread_local sigjmp_buf* landing = nullptr;

void on_sigbus(int) {
  if (landing) siglongjmp(*landing, 1);
  _exit(99);
}

// Copies out of a mapping; false: SIGBUS.
bool copy_from(unsigned char* out, const unsigned char* map, std::size_t count) {
  sigjmp_buf here;
  landing = &here;
  const bool came = sigsetjmp(here, 1) == 0;
  if (came) std::memcpy(out, map, count);
  landing = nullptr;
  return came;
}

bool judge(const char* what, const File& file, const unsigned char* got, std::uint64_t at, std::size_t count) {
  const std::int64_t wrong = file.pattern.differs(got, at, count);
  if (wrong >= 0) verdict.trouble("wrong", what, file, wrong, 0);
  return wrong < 0;
}

bool judge_count(const char* what, const File& file, ssize_t got, std::uint64_t at, std::size_t count) {
  const std::size_t wanted = at >= file.pattern.size ? 0 : std::min<std::uint64_t>(count, file.pattern.size - at);
  if (got < 0) verdict.trouble("error", what, file, static_cast<std::int64_t>(at), errno);
  else if (static_cast<std::size_t>(got) != wanted) verdict.trouble("short", what, file, static_cast<std::int64_t>(at), 0);
  return got >= 0 && static_cast<std::size_t>(got) == wanted;
}

// One pass over [first, first + count): false where there was trouble. An error ends it; wrong bytes do not, for only
// a file that was read to its end gets its verdict.
bool pass(const std::string& how, const File& file, std::uint64_t first, std::uint64_t count, std::mt19937_64& turns) {
  const auto opened = Clock::now();
  const int fd = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return verdict.trouble("error", "open", file, -1, errno), false;
  verdict.took("open", seconds_since(opened), 0);
  std::vector<std::uint64_t> places;
  for (std::uint64_t at = first; at < first + count; at += kPiece) places.push_back(at);
  if (how == "random") {
    posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    std::shuffle(places.begin(), places.end(), turns);
  }
  if (how == "resident") posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  unsigned char* map = nullptr;
  if (how == "mmap" && file.pattern.size > 0) {
    map = static_cast<unsigned char*>(mmap(nullptr, file.pattern.size, PROT_READ, MAP_SHARED, fd, 0));
    if (map == MAP_FAILED) return verdict.trouble("error", "mmap", file, 0, errno), close(fd), false;
  }
  std::vector<unsigned char> buffer(kPiece);
  bool good = true, right = true;
  for (std::size_t i = 0; i < places.size() && good; ++i) {
    const std::uint64_t at = places[i];
    const std::size_t wanted = std::min<std::uint64_t>(kPiece, first + count - at);
    const auto began = Clock::now();
    if (map) {
      good = copy_from(buffer.data(), map + at, wanted);
      if (!good) verdict.trouble("sigbus", how, file, static_cast<std::int64_t>(at), EIO);
    } else {
      good = judge_count(how.c_str(), file, pread(fd, buffer.data(), wanted, static_cast<off_t>(at)), at, wanted);
    }
    verdict.took(how, seconds_since(began), wanted);
    right = good && judge(how.c_str(), file, buffer.data(), at, wanted) && right;
  }
  if (map) munmap(map, file.pattern.size);
  close(fd);
  if (good && right) ++verdict.passes;
  return good && right;
}

std::vector<File> read_list(const char* path) {
  std::vector<File> files;
  std::ifstream in(path);
  File each;
  while (in >> each.path >> each.pattern.seed >> each.pattern.size) files.push_back(each);
  return files;
}

#include "random_reader.h"

std::atomic<bool> stopped{false};

int usage() {
  return std::fputs("see the head of reader.cpp\n", stderr), 2;
}

}  // namespace

int main(int argc, char** argv) {
  struct sigaction action {};
  action.sa_handler = on_sigbus;
  action.sa_flags = SA_NODEFER;
  sigaction(SIGBUS, &action, nullptr);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 3 && words[0] == "write") {
    const Pattern pattern{std::stoull(words[1]), std::stoull(words[2])};
    std::vector<unsigned char> piece(1 << 20);
    for (std::uint64_t at = 0; at < pattern.size; at += piece.size()) {
      const std::size_t count = std::min<std::uint64_t>(piece.size(), pattern.size - at);
      pattern.fill(piece.data(), at, count);
      if (std::fwrite(piece.data(), 1, count, stdout) != count) return 1;
    }
    return 0;
  }
  if (words.size() >= 5 && words[0] == "once") {
    const File file{words[2], {std::stoull(words[3]), std::stoull(words[4])}};
    std::mt19937_64 turns(file.pattern.seed);
    const bool part = words.size() == 7;
    pass(words[1], file, part ? std::stoull(words[5]) : 0, part ? std::stoull(words[6]) : file.pattern.size, turns);
  } else if (words.size() >= 4 && words[0] == "loop") {
    std::mt19937_64 turns(std::stoull(words[2]));
    const auto files = read_list(words[3].c_str());
    const unsigned pause = words.size() > 4 ? std::stoul(words[4]) : 0;
    std::thread([] {
      while (std::getchar() != EOF) {}
      stopped = true;
    }).detach();
    while (!stopped) {
      const File& file = files[turns() % files.size()];
      pass(words[1], file, 0, file.pattern.size, turns);
      if (pause) usleep(pause * 1000);
    }
  } else if (words.size() == 6 && words[0] == "random") {
    read_at_random(std::stoull(words[1]), read_list(words[2].c_str()), std::stoull(words[3]), std::stod(words[4]),
                   std::stoul(words[5]));
  } else {
    return usage();
  }
  verdict.say();
  std::_Exit(0);
}
