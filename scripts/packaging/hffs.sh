# HF_HUB_CACHE for everybody while hffs is mounted at /mnt/hf, but for who says where the cache is. Asks the kernel's list
# alone: on a mount that is dead or slow a login must not wait.
if [ -z "${HF_HUB_CACHE+set}${HUGGINGFACE_HUB_CACHE+set}${HF_HOME+set}" ] &&
  grep -qs '^[^ ]* /mnt/hf fuse\.hffs ' /proc/self/mounts; then
  export HF_HUB_CACHE=/mnt/hf
fi
