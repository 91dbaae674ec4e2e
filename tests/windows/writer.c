/* Has a file open for writing, says so, and ends with its input: helper FILE */
#include <stdio.h>
#include <windows.h>

int main(int count, char **words) {
    DWORD share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    if (count != 2) return 2;
    if (CreateFileA(words[1], GENERIC_WRITE, share, NULL, OPEN_EXISTING, 0, NULL) == INVALID_HANDLE_VALUE) return 1;
    puts("open");
    fflush(stdout);
    while (getchar() != EOF) {}
    return 0;
}
