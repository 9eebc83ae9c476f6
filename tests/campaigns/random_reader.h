// SPDX-License-Identifier: Apache-2.0
//
// A part of reader.cpp: every way of reading, in any order, as fsx does it.

// One open file of a thread, with mappings of it.
struct Slot {
  struct Map {
    unsigned char* memory;
    std::uint64_t at;
    std::size_t size;
  };
  const File* file = nullptr;
  int fd = -1, direct = -1;
  std::uint64_t place = 0;  // of read(2)
  std::vector<Map> maps;

  void leave() {
    for (const Map& each : maps) munmap(each.memory, each.size);
    maps.clear();
    if (fd >= 0) close(fd);
    if (direct >= 0) close(direct);
    fd = direct = -1;
    file = nullptr;
  }
};

class Walker {
 public:
  Walker(std::uint64_t seed, const std::vector<File>& files) : turns_(seed), files_(files), slots_(4), buffer_(kMost + kPage) {
    direct_ = static_cast<unsigned char*>(std::aligned_alloc(kPage, 1 << 20));
  }
  ~Walker() {
    for (Slot& each : slots_) each.leave();
    std::free(direct_);
  }

  void step() {
    Slot& slot = slots_[below(slots_.size())];
    if (!slot.file || below(24) == 0) return enter(slot);
    const auto began = Clock::now();
    std::uint64_t bytes = 0;
    const char* what = act(slot, bytes);
    verdict.took(what, seconds_since(began), bytes);
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return limit ? turns_() % limit : 0; }
  std::size_t some() {  // mostly small, now and then more than two blocks
    const auto kind = below(20);
    return 1 + below(kind == 0 ? kMost : kind < 6 ? 256 << 10 : 9000);
  }
  std::uint64_t somewhere(const File& file) {
    // Now and then next to a block's edge, or past the end.
    const auto kind = below(10);
    if (kind == 0) return file.pattern.size + below(5000);
    if (kind == 1) return std::max<std::int64_t>(0, static_cast<std::int64_t>(below(file.pattern.size + 1) >> 20 << 20) - static_cast<std::int64_t>(below(5)));
    return below(file.pattern.size);
  }

  void enter(Slot& slot) {
    slot.leave();
    const File& file = files_[below(files_.size())];
    const auto began = Clock::now();
    slot.fd = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (slot.fd < 0) return verdict.trouble("error", "open", file, -1, errno);
    slot.file = &file;
    slot.place = 0;
    verdict.took("open", seconds_since(began), 0);
  }

  const char* act(Slot& slot, std::uint64_t& bytes) {
    switch (below(13)) {
      case 0:
      case 1:
      case 2: return pread_some(slot, bytes);
      case 3: return read_on(slot, bytes);
      case 4: return vectored(slot, bytes);
      case 5: return direct(slot, bytes);
      case 6: return map(slot);
      case 7:
      case 8: return look(slot, bytes);
      case 9: return advise(slot);
      case 10: return ask(slot);
      case 11: return send(slot, bytes);
      default: return whole(slot, bytes);
    }
  }

  const char* finish(const char* what, const File& file, ssize_t got, std::uint64_t at, std::size_t count, std::uint64_t& bytes) {
    if (judge_count(what, file, got, at, count) && got > 0) judge(what, file, buffer_.data(), at, static_cast<std::size_t>(got));
    bytes = got > 0 ? static_cast<std::uint64_t>(got) : 0;
    return what;
  }

  const char* pread_some(Slot& slot, std::uint64_t& bytes) {
    const auto at = somewhere(*slot.file);
    const auto count = some();
    return finish("pread", *slot.file, pread(slot.fd, buffer_.data(), count, static_cast<off_t>(at)), at, count, bytes);
  }

  const char* read_on(Slot& slot, std::uint64_t& bytes) {
    if (slot.place >= slot.file->pattern.size) slot.place = static_cast<std::uint64_t>(lseek(slot.fd, 0, SEEK_SET));
    const auto count = some();
    const ssize_t got = read(slot.fd, buffer_.data(), count);
    finish("read", *slot.file, got, slot.place, count, bytes);
    slot.place += bytes;
    return "read";
  }

  const char* vectored(Slot& slot, std::uint64_t& bytes) {
    const auto at = somewhere(*slot.file);
    iovec parts[5];
    const std::size_t number = 2 + below(4);
    std::size_t count = 0;
    for (std::size_t i = 0; i < number; ++i) {
      parts[i] = {buffer_.data() + count, 1 + below(100'000)};
      count += parts[i].iov_len;
    }
    return finish("preadv", *slot.file, preadv(slot.fd, parts, static_cast<int>(number), static_cast<off_t>(at)), at, count, bytes);
  }

  const char* direct(Slot& slot, std::uint64_t& bytes) {
    if (slot.direct < 0) slot.direct = open(slot.file->path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (slot.direct < 0) return verdict.trouble("error", "open direct", *slot.file, -1, errno), "direct";
    const auto at = somewhere(*slot.file) / kPage * kPage;
    const std::size_t count = kPage * (1 + below(64));
    const ssize_t got = pread(slot.direct, direct_, count, static_cast<off_t>(at));
    if (judge_count("direct", *slot.file, got, at, count) && got > 0) judge("direct", *slot.file, direct_, at, static_cast<std::size_t>(got));
    bytes = got > 0 ? static_cast<std::uint64_t>(got) : 0;
    return "direct";
  }

  const char* map(Slot& slot) {
    if (slot.file->pattern.size == 0) return "map";
    if (slot.maps.size() == 3) {
      munmap(slot.maps.front().memory, slot.maps.front().size);
      slot.maps.erase(slot.maps.begin());
    }
    const auto at = below(slot.file->pattern.size) / kPage * kPage;
    const std::size_t size = std::min<std::uint64_t>(1 + below(4 << 20), slot.file->pattern.size - at);
    const int how = below(2) ? MAP_SHARED : MAP_PRIVATE;
    void* memory = mmap(nullptr, size, PROT_READ, how, slot.fd, static_cast<off_t>(at));
    if (memory == MAP_FAILED) return verdict.trouble("error", "mmap", *slot.file, static_cast<std::int64_t>(at), errno), "map";
    slot.maps.push_back({static_cast<unsigned char*>(memory), at, size});
    return "map";
  }

  const char* look(Slot& slot, std::uint64_t& bytes) {
    if (slot.maps.empty()) return map(slot);
    const Slot::Map& each = slot.maps[below(slot.maps.size())];
    const auto from = below(each.size);
    bytes = std::min<std::uint64_t>(some(), each.size - from);
    if (copy_from(buffer_.data(), each.memory + from, bytes)) judge("fault", *slot.file, buffer_.data(), each.at + from, bytes);
    else verdict.trouble("sigbus", "fault", *slot.file, static_cast<std::int64_t>(each.at + from), EIO);
    return "fault";
  }

  const char* advise(Slot& slot) {
    static constexpr int kFile[] = {POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED};
    static constexpr int kMap[] = {MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED};
    const auto at = somewhere(*slot.file);
    const auto kind = below(3);
    if (kind == 0) posix_fadvise(slot.fd, static_cast<off_t>(at), static_cast<off_t>(some()), kFile[below(5)]);
    else if (kind == 1) (void)!readahead(slot.fd, static_cast<off_t>(at), some());
    else if (!slot.maps.empty()) madvise(slot.maps.front().memory, slot.maps.front().size, kMap[below(5)]);
    return "advise";
  }

  // What the file says of itself.
  const char* ask(Slot& slot) {
    struct stat found {};
    const auto size = static_cast<off_t>(slot.file->pattern.size);
    if (fstat(slot.fd, &found) != 0) verdict.trouble("error", "fstat", *slot.file, -1, errno);
    else if (found.st_size != size) verdict.trouble("wrong", "st_size", *slot.file, found.st_size, 0);
    if (size > 0) {
      const off_t hole = lseek(slot.fd, 0, SEEK_HOLE);
      if (hole != size) verdict.trouble("wrong", "SEEK_HOLE", *slot.file, hole, hole < 0 ? errno : 0);
    }
    lseek(slot.fd, static_cast<off_t>(slot.place), SEEK_SET);
    return "ask";
  }

  const char* send(Slot& slot, std::uint64_t& bytes) {
    off_t at = static_cast<off_t>(somewhere(*slot.file));
    const auto from = static_cast<std::uint64_t>(at);
    const std::size_t count = 1 + below(64 << 10);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return "sendfile";
    fcntl(ends[1], F_SETPIPE_SZ, 256 << 10);
    const ssize_t sent = sendfile(ends[1], slot.fd, &at, count);
    close(ends[1]);
    std::size_t got = 0;
    for (ssize_t more; sent > 0 && (more = read(ends[0], buffer_.data() + got, static_cast<std::size_t>(sent) - got)) > 0;)
      got += static_cast<std::size_t>(more);
    close(ends[0]);
    // A pipe's buffers are pages: it may take less than it was given, never other bytes.
    if (sent < 0) verdict.trouble("error", "sendfile", *slot.file, static_cast<std::int64_t>(from), errno);
    else judge("sendfile", *slot.file, buffer_.data(), from, got);
    bytes = got;
    return "sendfile";
  }

  // Seldom a whole file, so that it becomes whole in the store, and is checked and evicted there.
  const char* whole(Slot& slot, std::uint64_t& bytes) {
    if (below(8) != 0) return pread_some(slot, bytes);
    for (std::uint64_t at = 0; at < slot.file->pattern.size; at += kMost) {
      std::uint64_t some = 0;
      finish("whole", *slot.file, pread(slot.fd, buffer_.data(), kMost, static_cast<off_t>(at)), at, kMost, some);
      bytes += some;
    }
    return "whole";
  }

  std::mt19937_64 turns_;
  const std::vector<File>& files_;
  std::vector<Slot> slots_;
  std::vector<unsigned char> buffer_;
  unsigned char* direct_;
};

void read_at_random(std::uint64_t seed, const std::vector<File>& files, std::uint64_t ops, double seconds, unsigned threads) {
  std::vector<std::thread> walkers;
  const auto began = Clock::now();
  for (unsigned number = 0; number < threads; ++number)
    walkers.emplace_back([&, number] {
      Walker walker(seed * 1000 + number, files);
      const std::uint64_t mine = ops / threads + (number < ops % threads);
      for (std::uint64_t i = 0; (ops == 0 || i < mine) && (seconds <= 0 || seconds_since(began) < seconds); ++i) walker.step();
    });
  for (auto& each : walkers) each.join();
}
