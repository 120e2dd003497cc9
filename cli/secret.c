#include "cli/secret.h"

#include "cli/command.h"
#include "lib/crypto/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* ---- out ---- */
static bool is_own_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0;
}

bool secret_sink_open(const char *file, struct secret_sink *ret_sink)
{
    *ret_sink = (struct secret_sink){ .to = SECRET_TERMINAL, .fd = -1 };
    if (!file && (isatty(STDOUT_FILENO) || is_own_file(STDOUT_FILENO)))
        return true;
    if (!file) {
        command_complain("the secret would go where others may read it, and it is shown this once: name "
                         "a file with --secret-file FILE, or say --secret-file - for standard output");
        return false;
    }
    if (strcmp(file, "-") == 0) {
        ret_sink->to = SECRET_STDOUT;
        return true;
    }
    ret_sink->to = SECRET_FILE;
    ret_sink->path = file;
    ret_sink->fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (ret_sink->fd < 0)
        command_complain("--secret-file %s: %s", file,
                         errno == EEXIST ? "it is there already" : strerror(errno));
    return ret_sink->fd >= 0;
}

static bool write_all(int fd, struct span text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno != EINTR)
            return false;
        text = span_skip(text, n > 0 ? (size_t)n : 0);
    }
    return true;
}

bool secret_sink_put(struct secret_sink *sink, struct span secret)
{
    if (sink->to != SECRET_FILE)
        return true;
    sink->is_used = true;
    if (write_all(sink->fd, secret) && write_all(sink->fd, SPAN("\n")) && fsync(sink->fd) == 0)
        return true;
    command_complain("--secret-file %s: %s; the secret is lost: delete what was made, and make it anew",
                     sink->path, strerror(errno));
    return false;
}

void secret_sink_close(struct secret_sink *sink)
{
    if (sink->to != SECRET_FILE || sink->fd < 0)
        return;
    close(sink->fd);
    if (!sink->is_used)
        unlink(sink->path);
    sink->fd = -1;
}

/* ---- in ---- */
static bool read_line(int fd, char *text, size_t size)
{
    size_t len = 0;
    ssize_t n;

    while (len < size - 1 && (n = read(fd, text + len, 1)) > 0 && text[len] != '\n')
        len++;
    text[len] = '\0';
    if (len && text[len - 1] == '\r')
        text[len - 1] = '\0';
    return text[0] != '\0';
}

static bool ask_unseen(int tty, const char *prompt, char *text, size_t size)
{
    struct termios before, unseen;
    bool ok;

    if (tcgetattr(tty, &before) < 0)
        return false;
    unseen = before;
    unseen.c_lflag &= ~(tcflag_t)ECHO;
    unseen.c_lflag |= ECHONL;
    if (tcsetattr(tty, TCSAFLUSH, &unseen) < 0)
        return false;
    ok = write_all(tty, span_str(prompt)) && read_line(tty, text, size);
    tcsetattr(tty, TCSAFLUSH, &before);
    return ok;
}

static bool ask_twice(char ret_text[SECRET_TEXT_MAX])
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    char again[SECRET_TEXT_MAX] = "";
    bool ok;

    if (tty < 0) {
        command_complain("there is no terminal to ask for a password on: use --password-file");
        return false;
    }
    ok = ask_unseen(tty, "New password: ", ret_text, SECRET_TEXT_MAX) &&
         ask_unseen(tty, "Once more: ", again, sizeof(again));
    close(tty);
    if (ok && !span_eq_secret(span_str(ret_text), span_str(again)))
        command_complain("these were two different passwords; nothing was changed");
    else if (!ok)
        command_complain("no password was given; nothing was changed");
    ok = ok && span_eq_secret(span_str(ret_text), span_str(again));
    explicit_bzero(again, sizeof(again));
    return ok;
}

bool secret_ask(const char *prompt, char ret_text[SECRET_TEXT_MAX])
{
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    bool ok = tty >= 0 && ask_unseen(tty, prompt, ret_text, SECRET_TEXT_MAX);

    if (tty < 0)
        command_complain("there is no terminal to ask on");
    else if (!ok)
        command_complain("nothing was given");
    if (tty >= 0)
        close(tty);
    return ok;
}

static bool read_file(const char *file, char ret_text[SECRET_TEXT_MAX])
{
    struct buf text;
    int r;

    buf_init_fixed(&text, ret_text, SECRET_TEXT_MAX - 1);
    r = file_read(file, SECRET_TEXT_MAX - 2, &text);
    if (r) {
        command_complain("--password-file %s: %s", file, strerror(-r));
        return false;
    }
    ret_text[text.len] = '\0';
    ret_text[strcspn(ret_text, "\r\n")] = '\0';
    if (!ret_text[0])
        command_complain("--password-file %s: it is empty", file);
    return ret_text[0] != '\0';
}

bool secret_read_password(const char *file, char ret_text[SECRET_TEXT_MAX])
{
    if (!file)
        return ask_twice(ret_text);
    if (strcmp(file, "-") != 0)
        return read_file(file, ret_text);
    if (read_line(STDIN_FILENO, ret_text, SECRET_TEXT_MAX))
        return true;
    command_complain("--password-file -: standard input is empty");
    return false;
}
