// SPDX-License-Identifier: LGPL-2.1-or-later
// Pages of files: mapped, written privately, deleted, unmapped; on ext4, tmpfs, an overlay and the disk itself.
#include "kinds.h"

static char *map(int fd, unsigned pages, int flags)
{
    char *p = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (p == MAP_FAILED)
        exit(1);
    for (unsigned i = 0; i < pages; i++)
        (void)*(volatile char *)(p + i * PAGE);
    return p;
}

void w_file(void)
{
    char *p = map(make_file("/disk/shared", 8, 10), 8, MAP_SHARED);
    p[0] = 1;
    claim_file("file_shared", p, 8, "path=/disk/shared");
    p = map(make_file("/disk/private", 8, 30), 8, MAP_PRIVATE);
    for (int i = 0; i < 4; i++)
        p[i * PAGE] ^= 1;
    claim("file_cow", p, 4, "path=/disk/private");
    claim_file("file_private", p + 4 * PAGE, 4, "path=/disk/private");
    p = map(make_file("/disk/deleted", 4, 50), 4, MAP_SHARED);
    unlink("/disk/deleted");
    claim_file("file_deleted", p, 4, "path=/disk/deleted nlink=0");
    int fd = make_file("/disk/dir with space", 1, 70);
    close(fd);
    mkdir("/disk/deep", 0755);
    mkdir("/disk/deep/er", 0755);
    fd = make_file("/disk/deep/er/unmapped", 6, 90);
    claim_unmapped("file_unmapped", fd, 0, 6, "path=/disk/deep/er/unmapped");
}

void w_tmpfs(void)
{
    char *p = map(make_file("/tmp/plain", 4, 110), 4, MAP_SHARED);
    claim_file("tmpfs", p, 4, "path=/tmp/plain");
    int fd = make_file("/tmp/child/unmapped", 4, 130);
    claim_unmapped("tmpfs_unmapped", fd, 0, 4, "path=/tmp/child/unmapped");
    p = map(make_file("/tmp/deleted", 2, 150), 2, MAP_SHARED);
    unlink("/tmp/deleted");
    claim_file("tmpfs_deleted", p, 2, "path=/tmp/deleted nlink=0");
}

// The pages belong to the upper or lower inode, whose words stat(2) gives below the overlay.
void w_overlay(void)
{
    struct stat st;
    int fd = open("/merged/lower_file", O_RDWR);
    if (fd < 0) {
        skip("overlay", strerror(errno));
        return;
    }
    close(fd);
    fd = make_file("/merged/new", 4, 170);
    char *p = map(fd, 4, MAP_SHARED);
    stat("/disk/upper/new", &st);
    claim("overlay", p, 4, "upper_ino=%lu path=/disk/upper/new merged=/merged/new", (unsigned long)st.st_ino);
    fd = open("/merged/lower_only", O_RDONLY);
    p = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    for (int i = 0; i < 2; i++)
        (void)*(volatile char *)(p + i * PAGE);
    stat("/disk/lower/lower_only", &st);
    claim("overlay", p, 2, "lower_ino=%lu path=/disk/lower/lower_only merged=/merged/lower_only",
          (unsigned long)st.st_ino);
}

// The page cache of a block device itself.
void w_bdev(void)
{
    int fd = open("/dev/vda", O_RDONLY);
    char *p = mmap(NULL, 4 * PAGE, PROT_READ, MAP_SHARED, fd, 256 * PAGE);
    if (p == MAP_FAILED) {
        skip("bdev", strerror(errno));
        return;
    }
    for (int i = 0; i < 4; i++)
        (void)*(volatile char *)(p + i * PAGE);
    claim("bdev", p, 4, "path=/dev/vda first_index=0x100");
}
