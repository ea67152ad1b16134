/* Runs the episode images of standard input, each from memory of exactly its size, so that AddressSanitizer sees a byte that is read beyond.
 *
 * An image comes as its size (uint32, of this machine's order) and its bytes; its status and how many lines it gave go to standard output. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/host/host.h"

static uint32_t lines;

static void count_line(const char *line, uint32_t bytes)
{
    if (bytes == 0 || line[bytes - 1] != '\n') {
        fprintf(stderr, "run_images: a line without an end\n");
        exit(2);
    }
    lines++;
}

int main(void)
{
    uint32_t bytes;

    while (fread(&bytes, sizeof(bytes), 1, stdin) == 1) {
        uint8_t *image = malloc(bytes > 0 ? bytes : 1);

        if (image == NULL || fread(image, 1, bytes, stdin) != bytes) {
            fprintf(stderr, "run_images: an image breaks off\n");
            return 2;
        }
        lines = 0;
        const int32_t status = mct_host_run(image, bytes, count_line);
        printf("%d %u\n", (int)status, (unsigned int)lines);
        free(image);
    }
    return 0;
}
