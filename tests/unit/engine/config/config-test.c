// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/config/config.h"

#include <gio/gio.h>
#include <string.h>

// Files that must be refused, with a part of the message.
static const struct {
    const char *path, *text, *message;
} refused[] = {
    { "unknown-key", "[machine]\nformat=1\n\n[cpu]\ncuont=2\n",
      "f line 5: there is no key cpu.cuont" },
    { "unknown-group", "[machine]\n[gpu]\ncount=1\n", "f line 2: there is no group [gpu]" },
    { "wrong-type", "[cpu]\n# two\ncount=two\n",
      "f line 3: cpu.count = two: must be a whole number from 1 to 64" },
    { "too-many-cpus", "[cpu]\ncount=1000\n", "must be a whole number from 1 to 64" },
    { "no-memory", "[memory]\nsize=0\n", "must be a size from 16M to 512G" },
    { "too-much-memory", "[memory]\nsize=10T\n", "must be a size from 16M to 512G" },
    { "no-unit", "[memory]\nsize=512\n", "with a unit" },
    { "overflow", "[memory]\nsize=99999999999999T\n", "must be a size" },
    { "boolean", "[board]\nhpet=yes\n", "must be true or false" },
    { "choice", "[cpu]\nengine=warp\n", "must be one of: auto, kvm" },
    { "list", "[boot]\norder=disk,disk\n", "each at most once" },
    { "uuid", "[machine]\nuuid=12\n", "must be a UUID" },
    { "multicast-mac", "[network0]\nmac=01:00:00:00:00:00\n", "unicast" },
    { "forward", "[network0]\nforward=80\n", "HOST:GUEST" },
    { "forward-port", "[network0]\nforward=70000:80\n", "HOST:GUEST" },
    { "forward-address", "[network0]\nforward=localhost:80:80\n", "HOST:GUEST" },
    { "escape", "[machine]\nname=a\\q\n", "f line 2: " },
    { "newer", "[machine]\nformat=2\nnovelty=1\n", "newer Lodge" },
    { "instance", "[disk9]\npath=a\n", "there is no group [disk9]" },
    { "syntax", "[machine\n", "f: " },
    { "ide-places", "[disk0]\npath=a\n[disk1]\npath=b\n[disk2]\npath=c\n[disk3]\npath=d\n",
      "5 IDE disks and CD drives do not fit" },
    { "read-only-ide", "[disk0]\npath=a\nread-only=true\n", "disk0.interface=virtio" },
    { "vram", "[display]\nvram=3M\n", "power of two" },
    { "serial-file", "[serial0]\nmode=file\n", "serial0.path is not set" },
    { "initrd", "[boot]\ninitrd=x\n", "needs its kernel" },
};

static void test_refused(gconstpointer data)
{
    size_t i = GPOINTER_TO_SIZE(data);
    g_autoptr(GError) error = NULL;
    g_assert_null(config_parse(refused[i].text, "f", &error));
    g_assert_nonnull(error);
    if (!strstr(error->message, refused[i].message))
        g_error("got: %s", error->message);
    g_assert_null(strchr(error->message, '\n'));
}

// A message stays one line of a bearable length, whatever the value is.
static void long_values(void)
{
    g_autoptr(Config) config = config_new();
    g_autofree char *text = g_strnfill(5000, 'x');
    text[3] = '\n';
    g_autoptr(GError) error = NULL;
    g_assert_false(config_set(config, "cpu.count", text, &error));
    g_assert_cmpuint(strlen(error->message), <, 200);
    g_assert_null(strchr(error->message, '\n'));
}

static void defaults_fit_their_rows(void)
{
    for (size_t i = 0; i < config_key_count; i++) {
        const ConfigKey *key = &config_keys[i];
        const char *values[] = { key->default_value, key->other_default };
        for (int j = 0; j < 2; j++) {
            if (!values[j])
                continue;
            GError *error = NULL;
            g_autofree char *parsed = config_key_parse(key, values[j], &error);
            g_assert_no_error(error);
            g_assert_cmpstr(parsed, ==, values[j]);
        }
        g_assert_cmpint(key->doc[strlen(key->doc) - 1], ==, '.');
    }
}

static void round_trip(void)
{
    g_autoptr(Config) config = config_new();
    static const char *const settings[] = {
        "machine.name=M", "memory.size=2048M", "cpu.count=4", "disk1.path=a b.raw",
        "boot.order=disk, cdrom", "network0.forward=8080:80,127.0.0.1:53:53/udp,[::1]:22:22",
        "network3.mac=52:4C:47:00:00:01", "boot.append=console=ttyS0 quiet",
    };
    GError *error = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++) {
        config_set_assignment(config, settings[i], &error);
        g_assert_no_error(error);
    }
    g_assert_cmpstr(config_string(config, "memory.size"), ==, "2G");
    g_autofree char *text = config_to_text(config);
    g_autoptr(Config) again = config_parse(text, "again", &error);
    g_assert_no_error(error);
    g_autofree char *text_again = config_to_text(again);
    g_assert_cmpstr(text, ==, text_again);
    g_assert_cmpint(config_integer(again, "memory.size"), ==, INT64_C(2) << 30);
    g_assert_cmpint(config_integer(again, "cpu.count"), ==, 4);
    g_assert_cmpstr(config_string(again, "boot.order"), ==, "disk,cdrom");
    g_assert_cmpstr(config_string(again, "boot.append"), ==, "console=ttyS0 quiet");
    g_assert_cmpstr(config_string_at(again, "network", 3, "mac"), ==, "52:4c:47:00:00:01");
}

static void instances_have_own_defaults(void)
{
    g_autoptr(Config) config = config_new();
    g_assert_cmpstr(config_string(config, "network0.mode"), ==, "nat");
    g_assert_cmpstr(config_string(config, "network1.mode"), ==, "none");
    g_assert_true(config_boolean(config, "cdrom0.present"));
    g_assert_false(config_boolean(config, "cdrom1.present"));
}

static void mac_from_uuid(void)
{
    g_autoptr(Config) config = config_new();
    config_set(config, "machine.uuid", "00112233-4455-6677-8899-aabbccddeeff", NULL);
    uint8_t uuid[16], mac[6], other[6];
    config_uuid(config, uuid);
    const uint8_t want[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                               0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
    g_assert_cmpmem(uuid, 16, want, 16);
    config_mac(config, 0, mac);
    config_mac(config, 1, other);
    g_assert_cmphex(mac[0] & 3, ==, 2);
    g_assert_cmphex(mac[5], ==, 0xff);
    g_assert_cmphex(other[5], ==, 0x00);
    config_set(config, "network0.mac", "52:00:00:00:00:07", NULL);
    config_mac(config, 0, mac);
    g_assert_cmphex(mac[5], ==, 7);
}

static void sizes(void)
{
    int64_t bytes;
    g_assert_true(config_size_parse("16GiB", &bytes));
    g_assert_cmpint(bytes, ==, INT64_C(16) << 30);
    g_assert_true(config_size_parse("3k", &bytes));
    g_assert_cmpint(bytes, ==, 3072);
    g_assert_false(config_size_parse("-1M", &bytes));
    g_assert_false(config_size_parse("1.5G", &bytes));
    g_assert_false(config_size_parse("1Q", &bytes));
    g_autofree char *text = config_size_format(INT64_C(1536) << 20);
    g_assert_cmpstr(text, ==, "1536M");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *path = g_strconcat("/config/refused/", refused[i].path, NULL);
        g_test_add_data_func(path, GSIZE_TO_POINTER(i), test_refused);
    }
    g_test_add_func("/config/defaults-fit-their-rows", defaults_fit_their_rows);
    g_test_add_func("/config/long-values", long_values);
    g_test_add_func("/config/round-trip", round_trip);
    g_test_add_func("/config/instances-have-own-defaults", instances_have_own_defaults);
    g_test_add_func("/config/mac-from-uuid", mac_from_uuid);
    g_test_add_func("/config/sizes", sizes);
    return g_test_run();
}
