/** The pfs service with hand-written codecs for file bytes, for servers and for our own clients. */
import { makeGenericClientConstructor, type ServiceDefinition } from '@grpc/grpc-js';
import {
  decodeBytesValue,
  decodePutFileRequest,
  encodeBytesValue,
  encodePutFileRequest,
} from './codec-hot.js';
import { APIService, type APIClient } from './generated/pfs.js';

export const PfsService: typeof APIService = {
  ...APIService,
  putFile: {
    ...APIService.putFile,
    requestSerialize: encodePutFileRequest,
    requestDeserialize: decodePutFileRequest,
  },
  getFile: {
    ...APIService.getFile,
    responseSerialize: encodeBytesValue,
    responseDeserialize: decodeBytesValue,
  },
};

/** Constructor of pfs clients that use them. */
export const PfsClient = makeGenericClientConstructor(
  PfsService as unknown as ServiceDefinition,
  'pfs.API',
) as unknown as new (...args: ConstructorParameters<typeof APIClientType>) => APIClient;

declare const APIClientType: new (
  address: string,
  credentials: import('@grpc/grpc-js').ChannelCredentials,
  options?: import('@grpc/grpc-js').ChannelOptions,
) => APIClient;
