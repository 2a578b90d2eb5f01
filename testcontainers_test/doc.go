// Package containers runs hearth against servers in containers: the versions that the
// root module's tests, which take what is installed, cannot choose.
//
// It needs a container engine and the images redis:7, redis:8, valkey/valkey:8, memcached:1.6.18
// and memcached:1.6, which are pulled where they are not there yet. Without an engine it says so
// and tests nothing; where CI is set and the script that makes the images lies beside the
// checkout (../shared/images.sh), that is a failure, because a green run would prove nothing.
//
// Variables that testcontainers reads and that are not set get values that suit an engine on
// this machine: TESTCONTAINERS_HOST_OVERRIDE=127.0.0.1, TESTCONTAINERS_RYUK_DISABLED=true.
// Containers are removed by the tests that started them.
package containers
