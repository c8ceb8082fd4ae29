import { MemoryStore } from './memory-store.js';
import { objectStoreContract } from './object-store.contract.js';

objectStoreContract('memory', () => Promise.resolve(new MemoryStore()));
