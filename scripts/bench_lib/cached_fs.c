// SPDX-License-Identifier: Apache-2.0
//
// cached_fs FOLDER MOUNT: the files of one folder, held in memory, on libfuse with everything that makes it fast: names
// and attributes good for an hour, pages kept, no FLUSH. What a page-cached FUSE file system can reach at all.
#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 12)
#include <dirent.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { kMost = 1024, kFirst = 2 };  // inode 1 is the root
static const double kHour = 3600;

static struct {
  char* name;
  char* data;
  size_t size;
} files[kMost];
static size_t count;

static struct stat status_of(fuse_ino_t node) {
  struct stat status = {.st_ino = node, .st_nlink = 1, .st_mode = S_IFDIR | 0755};
  if (node >= kFirst) {
    status.st_mode = S_IFREG | 0444;
    status.st_size = (off_t)files[node - kFirst].size;
  }
  return status;
}

static int is_file(fuse_ino_t node) { return node >= kFirst && node - kFirst < count; }

static void do_init(void* data, struct fuse_conn_info* connection) {
  (void)data;
  connection->no_interrupt = 1;
}

static void do_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  for (size_t i = 0; parent == FUSE_ROOT_ID && i < count; ++i) {
    if (strcmp(files[i].name, name) != 0) continue;
    const struct fuse_entry_param entry = {
        .ino = i + kFirst, .attr = status_of(i + kFirst), .attr_timeout = kHour, .entry_timeout = kHour};
    fuse_reply_entry(request, &entry);
    return;
  }
  fuse_reply_err(request, ENOENT);
}

static void do_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info* file) {
  (void)file;
  const struct stat status = status_of(node);
  fuse_reply_attr(request, &status, kHour);
}

static void do_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info* file) {
  if (!is_file(node)) {
    fuse_reply_err(request, EISDIR);
    return;
  }
  file->keep_cache = 1;
  file->noflush = 1;
  fuse_reply_open(request, file);
}

static void do_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t at, struct fuse_file_info* file) {
  (void)file;
  const size_t whole = files[node - kFirst].size;
  if ((size_t)at >= whole) {
    fuse_reply_buf(request, NULL, 0);
    return;
  }
  fuse_reply_buf(request, files[node - kFirst].data + at, size < whole - (size_t)at ? size : whole - (size_t)at);
}

static int load(const char* folder) {
  DIR* dir = opendir(folder);
  if (!dir) return -1;
  for (struct dirent* entry; (entry = readdir(dir)) && count < kMost;) {
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    if (stat(path, &status) != 0 || !S_ISREG(status.st_mode)) continue;
    FILE* file = fopen(path, "rb");
    if (!file) return -1;
    files[count].name = strdup(entry->d_name);
    files[count].data = malloc((size_t)status.st_size + 1);
    files[count].size = fread(files[count].data, 1, (size_t)status.st_size, file);
    fclose(file);
    ++count;
  }
  return closedir(dir);
}

static const struct fuse_lowlevel_ops kOperations = {
    .init = do_init, .lookup = do_lookup, .getattr = do_getattr, .open = do_open, .read = do_read};

int main(int words, char** word) {
  if (words != 3 || load(word[1]) != 0) {
    fprintf(stderr, "cached_fs FOLDER MOUNT\n");
    return 2;
  }
  struct fuse_args args = FUSE_ARGS_INIT(1, word);
  struct fuse_session* session = fuse_session_new(&args, &kOperations, sizeof kOperations, NULL);
  if (!session || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, word[2]) != 0) return 1;
  struct fuse_loop_config* config = fuse_loop_cfg_create();
  const int status = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  return status != 0;
}
