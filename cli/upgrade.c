#include "cli/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

enum { PROBE_MS = 5000, LINE_MAX_BYTES = 256 };

static void curl_closep(CURL **curl)
{
    if (*curl)
        curl_easy_cleanup(*curl);
}

/* Whom we talk to is known by the URI in the certificate, not by a host name: only that it
 * hangs below the CA is checked here. */
static CURLcode dial(CURL *curl, const char *url, const char *ca_file, char *error)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PROBE_MS);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    return curl_easy_perform(curl);
}

static int read_first_line(CURL *curl, char *dst, size_t size)
{
    curl_socket_t fd;
    size_t len = 0, n;

    if (curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK)
        return -EIO;
    while (len < size - 1 && !memchr(dst, '\n', len)) {
        CURLcode code = curl_easy_recv(curl, dst + len, size - 1 - len, &n);
        struct pollfd pfd = { .fd = fd, .events = POLLIN };

        if (code == CURLE_OK && n == 0)
            return -EPIPE;
        if (code == CURLE_OK)
            len += n;
        else if (code != CURLE_AGAIN || poll(&pfd, 1, PROBE_MS) <= 0)
            return -ETIMEDOUT;
    }
    dst[len] = '\0';
    dst[strcspn(dst, "\r\n")] = '\0';
    return 0;
}

int api_probe_upgrade(const char *address, const char *ca_file, struct buf *reterr)
{
    AUTO(curl_closep) CURL *curl = curl_easy_init();
    char url[320], request[640], line[LINE_MAX_BYTES] = "", error[CURL_ERROR_SIZE] = "";
    size_t sent;
    int n, r;

    if (!curl)
        return -ENOMEM;
    snprintf(url, sizeof(url), "https://%s", address);
    if (dial(curl, url, ca_file, error) != CURLE_OK) {
        buf_put_str(reterr, error);
        return -EIO;
    }
    n = snprintf(request, sizeof(request),
                 "GET /tunnel HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: adit.v1\r\n\r\n", address);
    if (curl_easy_send(curl, request, (size_t)n, &sent) != CURLE_OK || sent != (size_t)n)
        return -EIO;
    r = read_first_line(curl, line, sizeof(line));
    if (r == 0 && strncmp(line, "HTTP/1.1 101", 12) == 0)
        return 0;
    buf_printf(reterr, "the answer was \"%s\"", line);
    return -EPROTO;
}
