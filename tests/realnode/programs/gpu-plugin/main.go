// A device plugin that offers pretend GPUs to a kubelet: what is scheduled, granted and counted is real, the devices are not.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type plugin struct {
	api.UnimplementedDevicePluginServer
	devices []*api.Device
}

func (p *plugin) GetDevicePluginOptions(context.Context, *api.Empty) (*api.DevicePluginOptions, error) {
	return &api.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *api.Empty, stream api.DevicePlugin_ListAndWatchServer) error {
	if err := stream.Send(&api.ListAndWatchResponse{Devices: p.devices}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (p *plugin) Allocate(_ context.Context, request *api.AllocateRequest) (*api.AllocateResponse, error) {
	response := &api.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		granted := strings.Join(container.DevicesIds, ",")
		log.Printf("granted %s", granted)
		response.ContainerResponses = append(response.ContainerResponses, &api.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": granted},
		})
	}
	return response, nil
}

// register serves the plugin's socket and tells the kubelet of it, and returns once the kubelet has removed the socket, as it
// does whenever it starts.
func register(folder, resource string, served *plugin) error {
	name := "pretend-" + strings.NewReplacer("/", "-", ".", "-").Replace(resource) + ".sock"
	socket := filepath.Join(folder, name)
	_ = os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	api.RegisterDevicePluginServer(server, served)
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()

	kubelet, err := grpc.NewClient("unix://"+filepath.Join(folder, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer kubelet.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request := &api.RegisterRequest{Version: api.Version, Endpoint: name, ResourceName: resource, Options: &api.DevicePluginOptions{}}
	if _, err := api.NewRegistrationClient(kubelet).Register(ctx, request); err != nil {
		return err
	}
	log.Printf("registered %d %s", len(served.devices), resource)
	for {
		if _, err := os.Stat(socket); err != nil {
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
}

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "the resource's name")
	count := flag.Int("n", 2, "how many devices")
	folder := flag.String("dir", api.DevicePluginPath, "the kubelet's folder of device plugins")
	flag.Parse()
	served := &plugin{}
	for i := range *count {
		served.devices = append(served.devices, &api.Device{ID: fmt.Sprintf("GPU-pretend-%d", i), Health: api.Healthy})
	}
	for {
		if err := register(*folder, *resource, served); err != nil {
			log.Print(err)
			time.Sleep(500 * time.Millisecond)
		}
	}
}
