// SPDX-License-Identifier: Apache-2.0
#include "fuse_convert.h"

#include "fuse_reply.h"

namespace hffs::fs {
namespace {

constexpr std::uint64_t kDots = 2;
// The kernel's header of a directory entry, and a name of ordinary length.
constexpr std::size_t kUsualItem = 48;
constexpr std::uint64_t kStatBlock = 512;

mode_t type_bits(FileKind kind) {
  switch (kind) {
    case FileKind::directory:
      return S_IFDIR;
    case FileKind::symlink:
      return S_IFLNK;
    default:
      return S_IFREG;
  }
}

// One content has one inode number, in a listing too.
std::uint64_t inode_of(NodeId node) {
  return node.kind() == NodeKind::blob ? NodeId::of_blob(node.blob_number(), 0).value : node.value;
}

}  // namespace

struct stat to_stat(const Attr& attr) {
  struct stat result{};
  result.st_ino = attr.inode;
  result.st_mode = type_bits(attr.kind) | attr.mode;
  result.st_nlink = attr.links;
  result.st_uid = attr.owner;
  result.st_gid = attr.group;
  result.st_size = static_cast<off_t>(attr.size);
  result.st_blksize = 4'096;
  // tar -S takes a file of no blocks for one of zeros.
  result.st_blocks = static_cast<blkcnt_t>((attr.bytes_here + kStatBlock - 1) / kStatBlock);
  if (attr.kind == FileKind::regular && attr.size != 0 && result.st_blocks == 0)
    result.st_blocks = 1;
  const timespec time{attr.modified.time_since_epoch().count(), 0};
  result.st_atim = result.st_mtim = result.st_ctim = time;
  return result;
}

double to_seconds(Ttl ttl) {
  return std::chrono::duration<double>(ttl).count();
}

fuse_entry_param to_entry(const Entry& entry) {
  fuse_entry_param result{};
  result.ino = entry.node.value;
  result.attr = to_stat(entry.attr);
  result.entry_timeout = to_seconds(entry.entry_ttl);
  result.attr_timeout = to_seconds(entry.attr_ttl);
  return result;
}

Caller to_caller(fuse_req_t request) {
  const fuse_ctx* context = ::fuse_req_ctx(request);
  return {context->uid, context->gid, context->pid, Session::request};
}

SetAttr to_change(const struct stat& wanted, int which, WallTime now) {
  SetAttr change;
  if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & 07777;
  if ((which & FUSE_SET_ATTR_UID) != 0) change.owner = wanted.st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) change.group = wanted.st_gid;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) change.size = static_cast<std::uint64_t>(wanted.st_size);
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0)
    change.modified = now;
  else if ((which & FUSE_SET_ATTR_MTIME) != 0)
    change.modified = WallTime(std::chrono::seconds(wanted.st_mtim.tv_sec));
  return change;
}

DirectoryPage::DirectoryPage(fuse_req_t request, NodeId directory, std::uint64_t offset,
                             std::size_t size)
    : request_(request), size_(size), cookie_(offset > kDots ? offset - kDots : 0) {
  bytes_.reserve(size);
  if (offset < 1) add(".", directory, FileKind::directory, 1);
  if (offset < kDots) add("..", directory, FileKind::directory, kDots);
}

std::size_t DirectoryPage::most() const {
  return std::max<std::size_t>(1, (size_ - bytes_.size()) / kUsualItem);
}

bool DirectoryPage::add(const char* name, NodeId node, FileKind kind, std::uint64_t offset) {
  struct stat about{};
  about.st_ino = inode_of(node);
  about.st_mode = type_bits(kind);
  const std::size_t length = ::fuse_add_direntry(request_, nullptr, 0, name, nullptr, 0);
  const std::size_t begin = bytes_.size();
  if (begin + length > size_) return false;
  bytes_.resize(begin + length);
  ::fuse_add_direntry(request_, bytes_.data() + begin, length, name, &about,
                      static_cast<off_t>(offset));
  return true;
}

void DirectoryPage::fill(const std::vector<DirItem>& items) {
  for (const DirItem& item : items)
    if (!add(item.name.c_str(), item.node, item.kind, item.cookie + kDots)) return;
}

}  // namespace hffs::fs
