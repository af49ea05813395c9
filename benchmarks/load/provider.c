/*
 * A fake provider in OpenAI's shape, to measure what stands in front of it.
 *
 *   provider [PORT]        listens on 127.0.0.1, prints the port on one line
 *
 * One thread, one epoll, HTTP/1.1 with keep-alive.  The words of the model's
 * name say what the answer is like, so one process serves every workload:
 *
 *   bench-n250-b280-g20000-up
 *     n250     250 content events                            (default 100)
 *     b280     280 bytes each, "data: " and blank line too   (default 280)
 *     g20000   20,000 microseconds apart       (default 0: as fast as taken)
 *     w500     500 milliseconds of thought before the answer (default 0)
 *     any other word means nothing
 *
 * A stream is content events, a finish chunk, a usage chunk (only where
 * `include_usage` was asked for) and [DONE]; each event is one HTTP chunk and
 * one write(2).  A content event carries "~" and five base-64 digits: the
 * microseconds of CLOCK_MONOTONIC, modulo 2^30, at the moment of its write.
 * Heads and identifiers vary as a real provider's do: the date by the second;
 * the request's name, the time taken and what is left of limits by the answer.
 * An event too small for OpenAI's whole shape is the barest chunk that a chat
 * client can read, 52 bytes, without id and model.
 *
 * Nothing is written to a caller that has not taken what it was sent before.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_HEAD = 65536, MAX_EVENT = 65536, READ_SIZE = 65536, BATCH = 256 };

typedef enum { LISTENING, THINKING, STREAMING } doing;

typedef struct {
    char *at;
    size_t start, end, room;
} buffer;

typedef struct {
    int fd;
    doing doing;
    buffer in, out;
    int waits_for_room;           /* EPOLLOUT is asked for */
    int slot;                     /* place in the timer heap, -1 for none */
    int turn;                     /* place among the unpaced, -1 for none */
    uint64_t due_ns, gap_ns;
    long events, sent, size, think_ms;
    unsigned long long name;      /* of the stream */
    int streams, wants_usage;
    char model[128];
    char front[512];              /* of each event, up to the stamp */
    size_t front_len, bare;
} peer;

static int poller, clock_fd;
static peer **heap, **eager;
static int heap_len, heap_room, eager_len, eager_room;
static unsigned long long answers;
static char padding[MAX_EVENT];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t dice(void) {
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

/* ---- growing buffers ---- */

static char *reserve(buffer *b, size_t more) {
    if (b->start == b->end) b->start = b->end = 0;
    if (b->room - b->end < more && b->start) {
        memmove(b->at, b->at + b->start, b->end - b->start);
        b->end -= b->start;
        b->start = 0;
    }
    if (b->room - b->end < more) {
        b->room = (b->end + more) * 2;
        b->at = realloc(b->at, b->room);
        if (!b->at) die("realloc");
    }
    return b->at + b->end;
}

static size_t held(const buffer *b) { return b->end - b->start; }

/* ---- timers: a binary heap on the time an event is due ---- */

static void place(peer *p, int slot) {
    heap[slot] = p;
    p->slot = slot;
}

static void sift(peer *p, int slot) {
    while (slot > 0 && heap[(slot - 1) / 2]->due_ns > p->due_ns) {
        place(heap[(slot - 1) / 2], slot);
        slot = (slot - 1) / 2;
    }
    for (;;) {
        int child = 2 * slot + 1;
        if (child >= heap_len) break;
        if (child + 1 < heap_len && heap[child + 1]->due_ns < heap[child]->due_ns) child++;
        if (heap[child]->due_ns >= p->due_ns) break;
        place(heap[child], slot);
        slot = child;
    }
    place(p, slot);
}

static void wake_at(peer *p, uint64_t due_ns) {
    p->due_ns = due_ns;
    if (p->slot < 0) {
        if (heap_len == heap_room) {
            heap_room = heap_room * 2 + 64;
            heap = realloc(heap, (size_t)heap_room * sizeof *heap);
        }
        p->slot = heap_len++;
    }
    sift(p, p->slot);
}

static void forget_timer(peer *p) {
    if (p->slot < 0) return;
    int hole = p->slot;
    p->slot = -1;
    peer *last = heap[--heap_len];
    if (last != p) sift(last, hole);
}

static void arm_clock(void) {
    static uint64_t armed;
    uint64_t due = heap_len ? heap[0]->due_ns : 0;
    if (due == armed) return;
    armed = due;
    struct itimerspec when = {
        .it_value = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)}};
    timerfd_settime(clock_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* ---- the unpaced: one event each, in turn ---- */

static void take_turns(peer *p) {
    if (p->turn >= 0) return;
    if (eager_len == eager_room) {
        eager_room = eager_room * 2 + 64;
        eager = realloc(eager, (size_t)eager_room * sizeof *eager);
    }
    p->turn = eager_len;
    eager[eager_len++] = p;
}

static void leave_turns(peer *p) {
    if (p->turn < 0) return;
    eager[p->turn] = eager[--eager_len];
    eager[p->turn]->turn = p->turn;
    p->turn = -1;
}

/* ---- writing ---- */

static void ask_for_room(peer *p, int wanted) {
    if (p->waits_for_room == wanted) return;
    p->waits_for_room = wanted;
    struct epoll_event e = {EPOLLIN | (wanted ? EPOLLOUT : 0), {.ptr = p}};
    epoll_ctl(poller, EPOLL_CTL_MOD, p->fd, &e);
}

/* One write(2); what the kernel does not take is kept.  -1: the caller left. */
static int send_bytes(peer *p, const char *bytes, size_t len) {
    if (!held(&p->out)) {
        ssize_t taken = write(p->fd, bytes, len);
        if (taken < 0 && errno != EAGAIN) return -1;
        if (taken > 0) bytes += taken, len -= (size_t)taken;
        if (!len) return 0;
    }
    memcpy(reserve(&p->out, len), bytes, len);
    p->out.end += len;
    ask_for_room(p, 1);
    return 0;
}

static int send_held(peer *p) {
    ssize_t taken = write(p->fd, p->out.at + p->out.start, held(&p->out));
    if (taken < 0) return errno == EAGAIN ? 0 : -1;
    p->out.start += (size_t)taken;
    if (!held(&p->out)) ask_for_room(p, 0);
    return 0;
}

/* ---- answers ---- */

/* An odd factor, so that no two answers have the same. */
static unsigned long long scrambled(unsigned long long n) { return n * 0x9E3779B97F4A7C15ull; }

/* The head of the next answer, after its first two lines, up to where its framing is told. */
static const char *usual_head(void) {
    static char head[1024], date[40];
    static time_t told;
    time_t now = time(NULL);
    if (now != told) {
        struct tm parts;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &parts));
        told = now;
    }
    unsigned long long n = ++answers, name = scrambled(n);
    snprintf(head, sizeof head,
             "date: %s\r\n"
             "server: bench\r\n"
             "openai-organization: bench\r\n"
             "openai-processing-ms: %llu\r\n"
             "openai-version: 2020-10-01\r\n"
             "x-ratelimit-limit-requests: 30000\r\n"
             "x-ratelimit-limit-tokens: 150000000\r\n"
             "x-ratelimit-remaining-requests: %llu\r\n"
             "x-ratelimit-remaining-tokens: %llu\r\n"
             "x-ratelimit-reset-requests: 2ms\r\n"
             "x-ratelimit-reset-tokens: 0s\r\n"
             "x-request-id: req_%016llx\r\n",
             date, 100 + name % 900, 20000 + n * 7 % 10000, 149000000 + n * 7919 % 1000000, name);
    return head;
}

static int answer_json(peer *p, const char *usual, const char *body) {
    char head[4096];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%s"
                     "content-length: %zu\r\n\r\n%s",
                     usual, strlen(body), body);
    return n < (int)sizeof head ? send_bytes(p, head, (size_t)n) : -1;
}

static int answer_unary(peer *p) {
    char body[1400];
    const char *usual = usual_head();
    snprintf(
        body, sizeof body,
        "{\"id\":\"chatcmpl-%020llu\",\"object\":\"chat.completion\",\"created\":1767225600,"
        "\"model\":\"%s\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
        "\"Seven measured answers crossed the wire this morning, each as long as a short reply is, "
        "and none of them said anything new.\",\"refusal\":null,\"annotations\":[]},"
        "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":31,"
        "\"completion_tokens\":27,\"total_tokens\":58,\"prompt_tokens_details\":{\"cached_tokens\":0,"
        "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,"
        "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}},"
        "\"service_tier\":\"default\",\"system_fingerprint\":\"fp_bench\"}",
        scrambled(answers), p->model);
    return answer_json(p, usual, body);
}

static const char BARE_FRONT[] = "data: {\"choices\":[{\"delta\":{\"content\":\"~";
static const char BARE_BACK[] = "\"}}]}\n\n";
static const char FULL_BACK[] = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";

static int common_front(peer *p, char *to, size_t room, const char *rest) {
    return snprintf(to, room,
                    "data: {\"id\":\"chatcmpl-%020llu\",\"object\":\"chat.completion.chunk\","
                    "\"created\":1767225600,\"model\":\"%s\",\"system_fingerprint\":\"fp_bench\",%s",
                    p->name, p->model, rest);
}

static void prepare_front(peer *p) {
    int n = common_front(p, p->front, sizeof p->front,
                         "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"~");
    p->front_len = (size_t)n;
    p->bare = p->size < n + 5 + (long)sizeof FULL_BACK - 1;
    if (p->bare) {
        p->front_len = sizeof BARE_FRONT - 1;
        memcpy(p->front, BARE_FRONT, p->front_len);
    }
}

static size_t content_event(peer *p, char *to) {
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *back = p->bare ? BARE_BACK : FULL_BACK;
    size_t back_len = p->bare ? sizeof BARE_BACK - 1 : sizeof FULL_BACK - 1;
    memcpy(to, p->front, p->front_len);
    char *end = to + p->front_len;
    uint64_t stamp = now_ns() / 1000;
    for (int shift = 24; shift >= 0; shift -= 6) *end++ = digits[(stamp >> shift) & 63];
    long pad = p->size - (end - to) - (long)back_len;
    if (pad > 0) {
        memcpy(end, padding, (size_t)pad);
        end += pad;
    }
    memcpy(end, back, back_len);
    return (size_t)(end - to) + back_len;
}

static size_t closing_event(peer *p, char *to, long which) {
    char usage[400];
    if (which == 0)
        return (size_t)common_front(
            p, to, MAX_EVENT,
            "\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,"
            "\"finish_reason\":\"stop\"}]}\n\n");
    snprintf(usage, sizeof usage,
             "\"choices\":[],\"usage\":{\"prompt_tokens\":31,\"completion_tokens\":%ld,"
             "\"total_tokens\":%ld,\"prompt_tokens_details\":{\"cached_tokens\":0,"
             "\"audio_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0,"
             "\"audio_tokens\":0}}}\n\n",
             p->events, p->events + 31);
    return (size_t)common_front(p, to, MAX_EVENT, usage);
}

/* Sends the next event as one HTTP chunk: 1 after the last, 0 before, -1 gone. */
static int next_event(peer *p) {
    static char wire[MAX_EVENT + 64];
    char *event = wire + 16, size[16];
    long which = p->sent - p->events;
    int last = 0;
    size_t len;
    if (which < 0) {
        len = content_event(p, event);
    } else if (which == 0 || (which == 1 && p->wants_usage)) {
        len = closing_event(p, event, which);
    } else {
        memcpy(event, "data: [DONE]\n\n", len = 14);
        last = 1;
    }
    p->sent++;
    int size_len = snprintf(size, sizeof size, "%zx\r\n", len);
    memcpy(event - size_len, size, (size_t)size_len);
    memcpy(event + len, last ? "\r\n0\r\n\r\n" : "\r\n", last ? 7 : 2);
    len += (size_t)size_len + (last ? 7 : 2);
    return send_bytes(p, event - size_len, len) < 0 ? -1 : last;
}

static int read_requests(peer *p);

static int end_stream(peer *p) {
    forget_timer(p);
    leave_turns(p);
    p->doing = LISTENING;
    return read_requests(p);
}

static int begin_stream(peer *p) {
    char head[2048];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n%s"
                     "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n",
                     usual_head());
    p->name = scrambled(answers);
    if (send_bytes(p, head, (size_t)n) < 0) return -1;
    p->doing = STREAMING;
    p->sent = 0;
    prepare_front(p);
    int over = next_event(p);
    if (over) return over < 0 ? -1 : end_stream(p);
    /* A random first gap, so that streams do not beat in step. */
    if (p->gap_ns) wake_at(p, now_ns() + dice() % (p->gap_ns + 1));
    else take_turns(p);
    return 0;
}

static int answer(peer *p) {
    p->doing = LISTENING;
    return p->streams ? begin_stream(p) : answer_unary(p);
}

/* A paced stream's event is due, or a thought has ended. */
static int on_due(peer *p) {
    forget_timer(p);
    if (p->doing == THINKING) return answer(p) < 0 || read_requests(p) < 0 ? -1 : 0;
    uint64_t planned = p->due_ns;
    if (!held(&p->out)) {
        int over = next_event(p);
        if (over) return over < 0 ? -1 : end_stream(p);
    } else {
        planned = now_ns();       /* not taken yet: no burst afterwards */
    }
    wake_at(p, planned + p->gap_ns);
    return 0;
}

/* ---- requests ---- */

static long number_after(const char *word) { return strtol(word + 1, NULL, 10); }

static void read_model(peer *p, const char *body, size_t len) {
    p->events = 100, p->size = 280, p->gap_ns = 0, p->think_ms = 0;
    strcpy(p->model, "bench");
    const char *end = body + len, *key = memmem(body, len, "\"model\"", 7);
    const char *open = key ? memchr(key + 7, '"', (size_t)(end - key - 7)) : NULL;
    const char *close = open ? memchr(open + 1, '"', (size_t)(end - open - 1)) : NULL;
    if (!close || (size_t)(close - open) > sizeof p->model) return;
    memcpy(p->model, open + 1, (size_t)(close - open - 1));
    p->model[close - open - 1] = 0;
    for (char *word = strchr(p->model, '-'); word; word = strchr(word, '-')) {
        word++;
        if (word[0] == 0 || word[1] < '0' || word[1] > '9') continue;
        if (*word == 'n') p->events = number_after(word);
        if (*word == 'b') p->size = number_after(word);
        if (*word == 'g') p->gap_ns = (uint64_t)number_after(word) * 1000;
        if (*word == 'w') p->think_ms = number_after(word);
    }
    if (p->size > MAX_EVENT - 1024) p->size = MAX_EVENT - 1024;
}

static int is_true(const char *body, size_t len, const char *key) {
    const char *end = body + len, *at = body;
    while ((at = memmem(at, (size_t)(end - at), key, strlen(key)))) {
        at += strlen(key);
        while (at < end && (*at == ' ' || *at == ':')) at++;
        if (end - at >= 4 && !memcmp(at, "true", 4)) return 1;
    }
    return 0;
}

/* Joins a chunked body in place.  Its wire length, 0 while incomplete. */
static size_t join_chunks(char *body, size_t len, size_t *joined) {
    size_t at = 0;
    *joined = 0;
    for (;;) {
        char *eol = memmem(body + at, len - at, "\r\n", 2);
        if (!eol) return 0;
        size_t size = strtoul(body + at, NULL, 16);
        at = (size_t)(eol - body) + 2;
        if (at + size + 2 > len) return 0;
        if (!size) return at + 2;
        memmove(body + *joined, body + at, size);
        *joined += size;
        at += size + 2;
    }
}

static int on_request(peer *p, const char *head, const char *body, size_t body_len) {
    if (!strncmp(head, "GET ", 4))
        return answer_json(p, usual_head(),
                              "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\","
                              "\"created\":1767225600,\"owned_by\":\"bench\"}]}");
    read_model(p, body, body_len);
    p->streams = is_true(body, body_len, "\"stream\"");
    p->wants_usage = is_true(body, body_len, "\"include_usage\"");
    if (!p->think_ms) return answer(p);
    p->doing = THINKING;
    wake_at(p, now_ns() + (uint64_t)p->think_ms * 1000000u);
    return 0;
}

/* Answers what has arrived whole.  -1: not HTTP, or the caller left. */
static int read_requests(peer *p) {
    while (p->doing == LISTENING && held(&p->in)) {
        char *head = p->in.at + p->in.start;
        size_t have = held(&p->in), body_len = 0, used;
        char *blank = memmem(head, have < MAX_HEAD ? have : MAX_HEAD, "\r\n\r\n", 4);
        if (!blank) return have < MAX_HEAD ? 0 : -1;
        int chunked = 0;
        for (char *line = head; line < blank; line = (char *)memchr(line, '\n', have) + 1) {
            if (!strncasecmp(line, "content-length:", 15)) body_len = strtoul(line + 15, NULL, 10);
            if (!strncasecmp(line, "transfer-encoding: chunked", 26)) chunked = 1;
        }
        char *body = blank + 4;
        size_t head_len = (size_t)(body - head);
        if (chunked) {
            /* Joining moves bytes, so only a whole body may be joined. */
            if (have - head_len < 5 || memcmp(head + have - 5, "0\r\n\r\n", 5)) return 0;
            used = join_chunks(body, have - head_len, &body_len);
            if (!used) return -1;
        } else {
            used = body_len;
            if (have - head_len < used) return 0;
        }
        p->in.start += head_len + used;
        if (on_request(p, head, body, body_len) < 0) return -1;
    }
    return 0;
}

/* ---- connections ---- */

static void welcome(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        peer *p = calloc(1, sizeof *p);
        if (!p) die("calloc");
        p->fd = fd;
        p->slot = p->turn = -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct epoll_event e = {EPOLLIN, {.ptr = p}};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
    }
}

static void part(peer *p) {
    forget_timer(p);
    leave_turns(p);
    close(p->fd);
    free(p->in.at);
    free(p->out.at);
    free(p);
}

static int on_ready(peer *p, uint32_t what) {
    if (what & EPOLLOUT && send_held(p) < 0) return -1;
    if (!(what & (EPOLLIN | EPOLLHUP | EPOLLERR))) return 0;
    ssize_t got = read(p->fd, reserve(&p->in, READ_SIZE), READ_SIZE);
    if (got < 0) return errno == EAGAIN ? 0 : -1;
    if (got == 0) return -1;
    p->in.end += (size_t)got;
    return read_requests(p);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 4096)) die("listen");
    getsockname(fd, (void *)&at, &len);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

/* One event for every unpaced stream whose caller has taken the last one. */
static int serve_the_eager(void) {
    int busy = 0;
    for (int i = eager_len - 1; i >= 0; i--) {
        if (i >= eager_len) continue;
        peer *p = eager[i];
        if (held(&p->out)) continue;
        busy = 1;
        int over = next_event(p);
        if (over > 0) over = end_stream(p);
        if (over < 0) part(p);
    }
    return busy;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    memset(padding, 'x', sizeof padding);
    int listener = listen_on(argc > 1 ? atoi(argv[1]) : 0), busy = 0;
    poller = epoll_create1(EPOLL_CLOEXEC);
    clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {EPOLLIN, {.ptr = &listener}};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    e.data.ptr = &clock_fd;
    epoll_ctl(poller, EPOLL_CTL_ADD, clock_fd, &e);
    for (;;) {
        static struct epoll_event ready[BATCH];
        arm_clock();
        int n = epoll_wait(poller, ready, BATCH, busy ? 0 : -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr == &listener) welcome(listener);
            else if (ready[i].data.ptr == &clock_fd) {
                uint64_t times;
                if (read(clock_fd, &times, sizeof times) < 0 && errno != EAGAIN) die("timer");
            } else if (on_ready(ready[i].data.ptr, ready[i].events) < 0) part(ready[i].data.ptr);
        }
        for (uint64_t now = now_ns(); heap_len && heap[0]->due_ns <= now;) {
            peer *p = heap[0];
            if (on_due(p) < 0) part(p);
        }
        busy = serve_the_eager();
    }
}
