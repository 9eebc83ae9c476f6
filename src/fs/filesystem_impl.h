// SPDX-License-Identifier: Apache-2.0
//
// The file system's one class, in three files: filesystem.cpp (construction, names, attributes),
// files.cpp (opened files), changes.cpp (making, removing, moving). It merges what the catalog
// publishes with the caller's own overlay. Threads: see hffs/filesystem.h.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "blob_reader.h"
#include "hffs/filesystem.h"
#include "hffs/guarded.h"
#include "overlay.h"
#include "write_rules.h"

namespace hffs::fs {

class FileSystemImpl final : public FileSystem {
 public:
  FileSystemImpl(FileSystemOptions options, std::shared_ptr<Overlay> overlay, std::string directory,
                 Catalog& catalog, Store& store, TransferEngine& transfer, Prefetcher& prefetcher,
                 Metrics& metrics);
  ~FileSystemImpl() override;

  void lookup(const Caller& caller, NodeId parent, std::string_view name, std::stop_token stop,
              Done<Entry> done) override;
  Result<Entry> get_attributes(const Caller& caller, NodeId node) override;
  Result<Entry> set_attributes(const Caller& caller, NodeId node, const SetAttr& change) override;
  Result<std::string> read_link(const Caller& caller, NodeId node) override;
  void list(const Caller& caller, NodeId directory, std::uint64_t cookie, std::size_t most,
            std::stop_token stop, Done<std::vector<DirItem>> done) override;

  bool sees(const Caller& caller, NodeId node) override;
  void admit(const Caller& caller, NodeId node, std::stop_token stop, Done<void> done) override;
  Result<Opened> open_file(const Caller& caller, NodeId node, int flags) override;
  void read(const Caller& caller, NodeId node, ByteRange range, std::stop_token stop,
            Done<std::vector<std::byte>> done) override;
  Result<std::size_t> write(const Caller& caller, NodeId node, std::uint64_t offset,
                            std::span<const std::byte> bytes) override;
  Result<void> sync(NodeId node) override;
  void release(NodeId node, std::uint64_t handle, int flags) override;
  void reopen(NodeId node, std::uint32_t count) override;

  Result<Entry> make_directory(const Caller& caller, NodeId parent, std::string_view name,
                               std::uint32_t mode) override;
  Result<Entry> make_file(const Caller& caller, NodeId parent, std::string_view name,
                          std::uint32_t mode) override;
  Result<Entry> make_link(const Caller& caller, NodeId parent, std::string_view name,
                          std::string_view target) override;
  Result<void> remove(const Caller& caller, NodeId parent, std::string_view name,
                      bool directory) override;
  void rename(const Caller& caller, NodeId from, std::string_view name, NodeId to,
              std::string_view new_name, unsigned flags, Done<void> done,
              std::stop_token stop) override;

  struct statvfs space() override;

 private:
  // Names that were looked up below .no_exist and are absent: a node of these has no row that would
  // tell its name, and writing to it makes one.
  struct AbsentName {
    NodeId directory;
    std::string name;
  };
  struct Absences {
    Guarded<std::unordered_map<std::uint64_t, AbsentName>> names;
    void remember(NodeId node, NodeId directory, std::string_view name);
  };

  void ask_catalog(const Caller& caller, NodeId parent, std::string_view name, bool then_overlay,
                   Done<Entry> done);
  void lookup_below_overlay(const Caller& caller, NodeId parent, std::string_view name,
                            Done<Entry> done);
  std::vector<DirItem> list_overlay(const Caller& caller, NodeId directory, std::uint64_t cookie,
                                    std::size_t most);
  Error own_mark(const Caller& caller, NodeId absent);
  Result<Entry> make(const Caller& caller, NodeId parent, std::string_view name, FileKind kind,
                     std::uint32_t mode, std::string_view target);
  void rename_to_blob(const Caller& caller, NodeId from, std::string_view name, NodeId to,
                      std::string_view new_name, bool replace, Done<void> done,
                      std::stop_token stop);
  void refresh_ref(NodeId directory, std::string_view name);
  std::uint64_t recording_of(const Caller& caller) const;
  Done<Entry> recorded(const Caller& caller, NodeId parent, std::string_view name, Done<Entry> done);

  const FileSystemOptions options_;
  // Shared with answers of the catalog that come after our end.
  const std::shared_ptr<Overlay> overlay_;
  const std::shared_ptr<Absences> absences_;
  const std::string directory_;
  Catalog& catalog_;
  Store& store_;
  BlobReader blobs_;
};

}  // namespace hffs::fs
